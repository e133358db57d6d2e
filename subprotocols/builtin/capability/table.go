package capability

import "nethost/sdk"

// Table is the module's index for a program that holds nodes and tags itself: what it
// finds and costs is what the module finds and costs. It is not safe for concurrent
// use.
type Table struct{ x *index }

// NewTable returns an empty table.
func NewTable() *Table { return &Table{newIndex()} }

// Put gives a node its tags; what it had before is forgotten. The error names a tag
// that is none (C1.1).
func (t *Table) Put(id sdk.NodeID, tags []string) error {
	for _, tag := range tags {
		if err := checkTag(tag); err != nil {
			return err
		}
	}
	t.x.put(id, merge(tags))
	return nil
}

// Remove forgets a node.
func (t *Table) Remove(id sdk.NodeID) { t.x.remove(id) }

// Find gives the nodes that fit a query (C3), in no particular order.
func (t *Table) Find(query string) ([]sdk.NodeID, error) {
	e, err := parseQuery(query)
	if err != nil {
		return nil, err
	}
	slots := t.x.search(e)
	ids := make([]sdk.NodeID, len(slots))
	for i, s := range slots {
		ids[i] = t.x.rows[s].id
	}
	return ids, nil
}
