-- Model calls by the response that they tell of, over the runs of all traces. The rowid closes every index: within an id
-- the rows are in the order of (org, position).
CREATE INDEX event_by_response ON event (event_id) WHERE event_id GLOB 'response:*';
