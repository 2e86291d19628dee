package store

// AuditInChunks and MayPass are what the tests of audits need besides Audit.
var (
	AuditInChunks = (*Store).auditInChunks
	MayPass       = mayPass
)
