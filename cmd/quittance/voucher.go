package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// maxVouchers are made in one transaction.
const maxVouchers = 1000

// voucher makes vouchers.
func (o *operator) voucher() *cobra.Command {
	var amount, currency string
	var count int
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "voucher",
		Short: "Make vouchers and print their codes, once",
		Long: `Make vouchers and print their codes, one a line. A code is money to whoever has it, and is
stored only as a fingerprint: it cannot be shown again.`,
		Example: `  quittance voucher --amount 100 --currency RUR
  quittance voucher --amount 12.50 --currency RUR --count 10 > codes.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			worth, err := parseAmount(amount, currency)
			if err != nil {
				return misused(err)
			}
			if count < 1 || count > maxVouchers {
				return misused(fmt.Errorf("--count %d: from 1 to %d at a time", count, maxVouchers))
			}
			return o.withSecrets(cmd.Context(), func(s *store.Store) error {
				codes, err := s.MakeVouchers(cmd.Context(), worth, count)
				if err != nil {
					return err
				}
				return format.show(cmd, strings.Join(codes, "\n"), codes)
			})
		},
	}
	cmd.Flags().StringVar(&amount, "amount", "", "what each is worth, as 12.50")
	cmd.Flags().StringVar(&currency, "currency", "", "of the amount, as RUR")
	cmd.Flags().IntVar(&count, "count", 1, "how many")
	format.flag(cmd)
	for _, name := range []string{"amount", "currency"} {
		_ = cmd.MarkFlagRequired(name) // the flag is defined above
	}
	return cmd
}
