package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Once makes a command idempotent: a second one with the same scope and key is answered
// with what the first was answered. The zero value asks for nothing.
type Once struct {
	Scope   string // the caller, or the endpoint where there is none
	Key     string // as the client sent it; "" for none
	Request string // method, path and canonical body: what the key is bound to
	Answer  Answer // what to say if the command is accepted, now and whenever it is repeated
}

// Answer is an HTTP answer, as it was given at acceptance.
type Answer struct {
	Status    int
	Body      []byte
	Operation OperationID // zero where nothing was enqueued
}

// Replay is the error of a command whose key was used before by the same request: it was
// done then, and this is what was answered. Nothing was done now.
type Replay struct{ Answer Answer }

func (r *Replay) Error() string { return "the request was answered before" }

// ErrKeyReused says that the key was used before by another request. Nothing was done.
var ErrKeyReused = errors.New("the idempotency key belongs to another request")

const claimKeysSQL = `
INSERT INTO idempotency_keys (scope, key, fingerprint, status, answer, operation_id)
SELECT k.scope, k.key, k.fingerprint, k.status, k.answer, k.operation_id
FROM unnest(@scopes::bytea[], @keys::text[], @fingerprints::bytea[], @statuses::smallint[], @answers::bytea[], @operations::uuid[])
     AS k (scope, key, fingerprint, status, answer, operation_id)
ORDER BY k.scope, k.key
ON CONFLICT DO NOTHING
RETURNING scope, key`

// One look into the index for each: joined, all keys would be read while there are few.
const readKeysSQL = `
SELECT k.scope, k.key, k.fingerprint, k.status, k.answer, k.operation_id
FROM unnest(@scopes::bytea[], @keys::text[]) AS asked (scope, key)
CROSS JOIN LATERAL (
	SELECT u.scope, u.key, u.fingerprint, u.status, u.answer, u.operation_id
	FROM idempotency_keys u
	WHERE u.scope = asked.scope AND u.key = asked.key
	OFFSET 0
) k`

// claim stores the key with its answer, or returns *Replay or ErrKeyReused. It waits for
// a transaction that is claiming the same key at this moment; what that one decides holds.
func (s *Store) claim(ctx context.Context, tx pgx.Tx, once Once) error {
	verdicts, err := s.claimAll(ctx, tx, []Once{once})
	if err != nil {
		return err
	}
	return verdicts[0]
}

// claimAll claims a set of keys, no two of them the same. verdicts[i] is nil where
// onces[i] has no key or has it now, *Replay or ErrKeyReused where it was used before.
func (s *Store) claimAll(ctx context.Context, tx pgx.Tx, onces []Once) (verdicts []error, err error) {
	verdicts = make([]error, len(onces))
	asked := make(map[keyID]int)
	for i, once := range onces {
		if once.Key != "" {
			asked[once.id()] = i
		}
	}
	if len(asked) == 0 {
		return verdicts, nil
	}

	if err := s.insertKeys(ctx, tx, onces, asked); err != nil {
		return nil, fmt.Errorf("claim keys: %w", err)
	}
	if err := s.recall(ctx, tx, onces, asked, verdicts); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return verdicts, nil
}

// keyID is a key within its scope.
type keyID struct{ scope, key string }

func (o Once) id() keyID { return keyID{scope: string(hashOf(o.Scope)), key: o.Key} }

// insertKeys inserts the keys that are new, and takes them out of asked.
func (s *Store) insertKeys(ctx context.Context, tx pgx.Tx, onces []Once, asked map[keyID]int) error {
	var c keyColumns
	for id, i := range asked {
		once := onces[i]
		c.scopes = append(c.scopes, []byte(id.scope))
		c.keys = append(c.keys, id.key)
		c.fingerprints = append(c.fingerprints, s.seal.fingerprint([]byte(once.Request)))
		c.statuses = append(c.statuses, once.Answer.Status)
		c.answers = append(c.answers, s.seal.close(once.Answer.Body, "answer"))
		c.operations = append(c.operations, once.Answer.Operation)
	}
	rows, _ := tx.Query(ctx, claimKeysSQL, pgx.NamedArgs{
		"scopes": c.scopes, "keys": c.keys, "fingerprints": c.fingerprints,
		"statuses": c.statuses, "answers": c.answers, "operations": c.operations,
	})
	var scope []byte
	var key string
	_, err := pgx.ForEachRow(rows, []any{&scope, &key}, func() error {
		delete(asked, keyID{scope: string(scope), key: key})
		return nil
	})
	return err
}

type keyColumns struct {
	scopes, fingerprints, answers [][]byte
	keys                          []string
	statuses                      []int
	operations                    []OperationID
}

// recall reads what was answered under the keys that are left in asked.
func (s *Store) recall(ctx context.Context, tx pgx.Tx, onces []Once, asked map[keyID]int, verdicts []error) error {
	if len(asked) == 0 {
		return nil
	}
	var c keyColumns
	for id := range asked {
		c.scopes = append(c.scopes, []byte(id.scope))
		c.keys = append(c.keys, id.key)
	}
	rows, _ := tx.Query(ctx, readKeysSQL, pgx.NamedArgs{"scopes": c.scopes, "keys": c.keys})
	var scope, fingerprint, sealed []byte
	var key string
	var answer Answer
	_, err := pgx.ForEachRow(rows, []any{&scope, &key, &fingerprint, &answer.Status, &sealed, &answer.Operation}, func() error {
		i := asked[keyID{scope: string(scope), key: key}]
		if !bytes.Equal(fingerprint, s.seal.fingerprint([]byte(onces[i].Request))) {
			verdicts[i] = ErrKeyReused
			return nil
		}
		body, err := s.seal.open(sealed, "answer")
		verdicts[i] = &Replay{Answer: Answer{Status: answer.Status, Body: body, Operation: answer.Operation}}
		return err
	})
	return err
}

const freeKeysSQL = `
DELETE FROM idempotency_keys k
USING unnest(@scopes::bytea[], @keys::text[]) AS freed (scope, key)
WHERE k.scope = freed.scope AND k.key = freed.key`

// freeKeys gives back keys that this transaction has just claimed.
func freeKeys(ctx context.Context, tx pgx.Tx, onces []Once) error {
	if len(onces) == 0 {
		return nil
	}
	var c keyColumns
	for _, once := range onces {
		c.scopes = append(c.scopes, hashOf(once.Scope))
		c.keys = append(c.keys, once.Key)
	}
	_, err := tx.Exec(ctx, freeKeysSQL, pgx.NamedArgs{"scopes": c.scopes, "keys": c.keys})
	return wrap("free keys", err)
}
