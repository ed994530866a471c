-- Model calls by the response that they tell of, over the runs of all traces.
CREATE INDEX place_by_response ON place (org, event_id, position) WHERE event_id LIKE 'response:%';
