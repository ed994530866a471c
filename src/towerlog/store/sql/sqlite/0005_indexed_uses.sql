-- By what content is used is asked by erasures alone, and the entries of such an index lie each on a page of its own: with
-- these indexes a snapshot wrote half as much again. So a row is brought into them (`indexed` is 1 then) when an erasure
-- comes to ask, many rows at a time (`store/sqlite/erasure/uses.py`). Nodes and lists of metas in the order of their
-- numbers, so that those which are not there yet are the last ones; checkpoints in that of `checkpoint_to_index`.
DROP INDEX node_by_parent;
DROP INDEX node_by_message;
DROP INDEX meta_list_by_parent;
DROP INDEX checkpoint_by_node;
DROP INDEX checkpoint_by_metas;
ALTER TABLE node ADD COLUMN indexed INTEGER;
ALTER TABLE meta_list ADD COLUMN indexed INTEGER;
ALTER TABLE checkpoint ADD COLUMN indexed INTEGER;
CREATE INDEX node_by_parent ON node (org, parent) WHERE indexed = 1 AND parent <> x'';
CREATE INDEX node_by_message ON node (org, message) WHERE indexed = 1 AND message <> x'';
CREATE INDEX meta_list_by_parent ON meta_list (org, parent) WHERE indexed = 1 AND parent <> x'';
CREATE INDEX checkpoint_by_node ON checkpoint (org, node) WHERE indexed = 1 AND node IS NOT NULL;
CREATE INDEX checkpoint_by_metas ON checkpoint (org, metas) WHERE indexed = 1 AND metas IS NOT NULL;
CREATE INDEX checkpoint_to_index ON checkpoint (org, position) WHERE indexed IS NULL;
