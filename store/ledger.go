package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// LedgerAccountID names a balance.
type LedgerAccountID int64

// ledgerKey names a ledger account by what it is for.
type ledgerKey struct {
	kind     string
	owner    int64
	currency money.Currency
}

const (
	walletKind           = "wallet"
	clearingKind         = "provider_clearing"
	acquirerClearingKind = "acquirer_clearing" // of the house; of a client: what went on from card to card for it
	merchantKind         = "merchant"
	commissionKind       = "commission"
	suspenseKind         = "suspense" // what came in and could be credited to nobody
)

// TransferKind says what a transfer was made for.
type TransferKind string

// A payment settles an invoice from a wallet; an opening brings in a balance from before
// Quittance; a recharge brings in money from a provider, a late one into suspense. A payment
// by card brings in its amount and, on top, the commission; a reversal gives parts of both
// back.
const (
	PaymentTransfer            TransferKind = "payment"
	OpeningTransfer            TransferKind = "opening"
	RechargeTransfer           TransferKind = "recharge"
	LateRechargeTransfer       TransferKind = "late_recharge"
	CardPaymentTransfer        TransferKind = "card_payment"
	CardCommissionTransfer     TransferKind = "card_commission"
	CardReversalTransfer       TransferKind = "card_reversal"
	CommissionReversalTransfer TransferKind = "commission_reversal"
)

// transfer moves amount from the debited to the credited account.
type transfer struct {
	kind      TransferKind
	reference [16]byte
	operation OperationID
	debit     LedgerAccountID
	credit    LedgerAccountID
	amount    money.Amount
	at        time.Time
}

// txID is the SHA-256 of a transfer's canonical form: version, kind, reference, debit,
// credit, minor units, currency and microseconds since 1970, one a line. Anyone can
// recompute it from the row.
func (t transfer) txID() []byte {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		"quittance transfer 1", string(t.kind), InvoiceNumber(t.reference).String(),
		strconv.FormatInt(int64(t.debit), 10), strconv.FormatInt(int64(t.credit), 10),
		strconv.FormatInt(t.amount.Minor, 10), strconv.Itoa(int(t.amount.Currency)),
		strconv.FormatInt(t.at.UnixMicro(), 10),
	}, "\n")))
	return sum[:]
}

const moveBalancesSQL = `
UPDATE ledger_accounts l
SET balance = l.balance + d.delta
FROM unnest(@accounts::bigint[], @deltas::bigint[]) AS d (account, delta)
WHERE l.id = d.account`

const insertTransfersSQL = `
INSERT INTO transfers (kind, reference, debit, credit, amount, currency, operation_id, tx_id, created_at)
SELECT t.kind, t.reference, t.debit, t.credit, t.amount, t.currency, t.operation_id, t.tx_id, @at
FROM unnest(@kinds::text[], @references::uuid[], @debits::bigint[], @credits::bigint[], @amounts::bigint[],
            @currencies::smallint[], @operations::uuid[], @tx_ids::bytea[])
     AS t (kind, reference, debit, credit, amount, currency, operation_id, tx_id)`

// post adds to the batch what books the transfers: one statement for the balances and one
// for the transfers, whatever their number. The caller has locked the accounts in id order
// and decided that no balance will break its constraint; all transfers are of one time.
func post(batch *pgx.Batch, transfers []transfer) {
	if len(transfers) == 0 {
		return
	}
	deltas := make(map[LedgerAccountID]int64)
	var kinds []TransferKind
	var references [][16]byte
	var debits, credits []LedgerAccountID
	var amounts []int64
	var currencies []money.Currency
	var operations []OperationID
	var txIDs [][]byte
	for _, t := range transfers {
		deltas[t.debit] -= t.amount.Minor
		deltas[t.credit] += t.amount.Minor
		kinds = append(kinds, t.kind)
		references = append(references, t.reference)
		debits = append(debits, t.debit)
		credits = append(credits, t.credit)
		amounts = append(amounts, t.amount.Minor)
		currencies = append(currencies, t.amount.Currency)
		operations = append(operations, t.operation)
		txIDs = append(txIDs, t.txID())
	}
	accounts := make([]LedgerAccountID, 0, len(deltas))
	moved := make([]int64, 0, len(deltas))
	for account, delta := range deltas {
		accounts = append(accounts, account)
		moved = append(moved, delta)
	}
	batch.Queue(moveBalancesSQL, pgx.NamedArgs{"accounts": accounts, "deltas": moved}).Exec(affects(len(accounts)))
	batch.Queue(insertTransfersSQL, pgx.NamedArgs{
		"kinds": kinds, "references": references, "debits": debits, "credits": credits, "amounts": amounts,
		"currencies": currencies, "operations": operations, "tx_ids": txIDs, "at": transfers[0].at,
	}).Exec(affects(len(transfers)))
}

// Transfer is a line of a wallet's statement.
type Transfer struct {
	ID           int64
	Kind         TransferKind
	Reference    [16]byte // the invoice or the recharge
	Credit       bool     // money came in
	Amount       money.Amount
	Counterparty string // the other account's number; "" where it is none of ours
	TxID         []byte
	CreatedAt    time.Time
}

const listTransfersSQL = `
SELECT t.id, t.kind, t.reference, t.credit = mine.id AS credit, t.amount, t.currency,
       coalesce(a.account_number, '') AS counterparty, t.tx_id, t.created_at
FROM ledger_accounts mine
CROSS JOIN LATERAL (
	(SELECT d.id, d.kind, d.reference, d.debit, d.credit, d.amount, d.currency, d.tx_id, d.created_at
	 FROM transfers d WHERE d.debit = mine.id AND d.id < @before ORDER BY d.id DESC LIMIT @limit)
	UNION ALL
	(SELECT c.id, c.kind, c.reference, c.debit, c.credit, c.amount, c.currency, c.tx_id, c.created_at
	 FROM transfers c WHERE c.credit = mine.id AND c.id < @before ORDER BY c.id DESC LIMIT @limit)
) t
JOIN ledger_accounts other ON other.id = CASE WHEN t.credit = mine.id THEN t.debit ELSE t.credit END
LEFT JOIN accounts a ON other.kind = 'wallet' AND a.id = other.owner
WHERE mine.kind = 'wallet' AND mine.owner = (SELECT s.account_id FROM sessions s WHERE s.id = @session)
ORDER BY t.id DESC
LIMIT @limit`

// Transfers lists what moved in the wallets of the session's account. Its error is
// ErrSessionNotFound.
func (s *Store) Transfers(ctx context.Context, session SessionID, page Page[int64]) ([]Transfer, error) {
	id, err := s.sessionRow(ctx, session)
	if err != nil {
		return nil, err
	}
	rows, _ := s.pool.Query(ctx, listTransfersSQL, pgx.NamedArgs{"session": id, "before": beforeID(page), "limit": page.Limit})
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Transfer, err error) {
		err = row.Scan(&t.ID, &t.Kind, &t.Reference, &t.Credit, &t.Amount.Minor, &t.Amount.Currency,
			&t.Counterparty, &t.TxID, &t.CreatedAt)
		return t, err
	})
	return found, unavailable(wrap("list transfers", err))
}

const openLedgerAccountsSQL = `
WITH house AS (
	INSERT INTO ledger_accounts (kind, owner, currency, may_go_negative)
	VALUES ('provider_clearing', 0, @currency, true)
	ON CONFLICT DO NOTHING
), wallet AS (
	INSERT INTO ledger_accounts (kind, owner, currency)
	SELECT 'wallet', a.id, @currency FROM accounts a WHERE a.account_number = @number
	ON CONFLICT DO NOTHING
)
SELECT now()`

const lockOpeningSQL = `
SELECT l.id, l.kind = 'wallet' AS wallet
FROM ledger_accounts l
WHERE l.currency = @currency
  AND (l.kind, l.owner) IN (('provider_clearing', 0), ('wallet', (SELECT a.id FROM accounts a WHERE a.account_number = @number)))
ORDER BY l.id
FOR NO KEY UPDATE`

// ErrAccountNotFound says that no account has this number or id, or that a recharge's is
// closed.
var ErrAccountNotFound = errors.New("account not found")

// OpenBalance brings an account's balance from before Quittance into its wallet, from the house's
// clearing account. reference makes it happen once: a second call with it does nothing and
// returns false. Its errors are ErrAccountNotFound, ErrReferenceReused and money.ErrOverflow.
func (s *Store) OpenBalance(ctx context.Context, number string, amount money.Amount, reference [16]byte) (opened bool, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		t := transfer{kind: OpeningTransfer, reference: reference, amount: amount}
		if err := t.lockOpening(ctx, tx, number); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		post(batch, []transfer{t})
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		return s.keepActs(ctx, tx, act{"balance.open", number, map[string]any{
			"amount": amount.Minor, "currency": amount.Currency.Alpha(), "reference": uuid.UUID(reference).String(),
		}})
	})
	switch {
	case isViolation(err, "one_transfer_per_reference_and_kind"):
		return false, s.checkOpening(ctx, number, amount, reference)
	case FaultOf(err) == FaultData:
		err = fmt.Errorf("%w: %w", money.ErrOverflow, err)
	}
	return err == nil, unavailable(wrap("open balance of "+number, err))
}

// ErrReferenceReused says that the reference opened another balance, or another amount.
var ErrReferenceReused = errors.New("the reference belongs to another opening")

const findOpeningSQL = `
SELECT EXISTS (
	SELECT
	FROM transfers t
	JOIN ledger_accounts l ON l.id = t.credit AND l.kind = 'wallet'
	JOIN accounts a        ON a.id = l.owner
	WHERE t.kind = 'opening' AND t.reference = @reference
	  AND a.account_number = @number AND t.amount = @amount AND t.currency = @currency
)`

// checkOpening returns nil where the reference opened just this balance.
func (s *Store) checkOpening(ctx context.Context, number string, amount money.Amount, reference [16]byte) error {
	var same bool
	err := s.pool.QueryRow(ctx, findOpeningSQL, pgx.NamedArgs{
		"reference": reference, "number": number, "amount": amount.Minor, "currency": amount.Currency,
	}).Scan(&same)
	if err == nil && !same {
		return ErrReferenceReused
	}
	return unavailable(wrap("find opening", err))
}

// lockOpening makes the two ledger accounts where they are missing, locks them and fills
// them in.
func (t *transfer) lockOpening(ctx context.Context, tx pgx.Tx, number string) error {
	args := pgx.NamedArgs{"number": number, "currency": t.amount.Currency}
	if err := tx.QueryRow(ctx, openLedgerAccountsSQL, args).Scan(&t.at); err != nil {
		return err
	}
	rows, _ := tx.Query(ctx, lockOpeningSQL, args)
	var id LedgerAccountID
	var wallet bool
	_, err := pgx.ForEachRow(rows, []any{&id, &wallet}, func() error {
		if wallet {
			t.credit = id
		} else {
			t.debit = id
		}
		return nil
	})
	if err == nil && t.credit == 0 {
		return ErrAccountNotFound
	}
	return err
}
