package store

import "context"

const pendingByAddress = `SELECT action, count(*) FROM intents INDEXED BY intents_pending WHERE state = 'pending' GROUP BY action
	UNION ALL
	SELECT enrichment, count(*) FROM asks INDEXED BY asks_pending WHERE state = 'pending' GROUP BY enrichment`

// Pending counts what waits for each action and enrichment, by address: steps that have
// no outcome yet, and questions that nobody has been answered.
func (s *Store) Pending(ctx context.Context) (map[string]int, error) {
	all := map[string]int{}
	_, err := queryRows(ctx, s, func(scan scanner) (struct{}, error) {
		var address string
		var n int
		err := scan(&address, &n)
		all[address] += n
		return struct{}{}, err
	}, pendingByAddress)
	return all, err
}
