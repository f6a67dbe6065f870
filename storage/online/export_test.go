package online

// OnExpiring calls do before rows that were found expired are removed.
func (s *Store) OnExpiring(do func()) { s.expiring = do }
