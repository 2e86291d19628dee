package migrations

// GrantedTables are those of which rights says something.
func GrantedTables() (tables []string) {
	for _, r := range rights {
		tables = append(tables, r.table)
	}
	return tables
}
