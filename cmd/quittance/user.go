package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// user makes and changes the people who log in by way of a client.
func (o *operator) user() *cobra.Command {
	user := &cobra.Command{Use: "user", Short: "Make, list and change the people who log in by way of a client"}
	user.AddCommand(o.addUser(), o.listUsers(),
		o.switchUser("disable", "Disable a user and revoke all his tokens, within two seconds", true),
		o.switchUser("enable", "Enable a user again and lift his locks; his old tokens stay revoked", false))
	return user
}

// newUser is a user as the flags describe him.
type newUser struct {
	store.NewUser
	cardStdin, pinStdin, passwordStdin bool
	generatePIN, generatePassword      bool
	format                             outputFormat
}

// A password is no flag: it would stay in the shell's history and in the list of processes.
func (o *operator) addUser() *cobra.Command {
	var n newUser
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a user; what is generated is shown once",
		Long: "Make a user, who can log in with what he is given here. A PIN alone names its user, so no two have the same.\n\n" +
			"What is read from standard input is one line each: first the card, then the PIN, then the password. " +
			"--card and --pin stay in the shell's history; where that matters, use --card-stdin and --pin-stdin.",
		Example: "  quittance user add alice --generate-pin --generate-password --right manage_payments\n" +
			"  quittance user add bob --card 04A2B1C3 --password-stdin < password.txt\n" +
			"  printf '%s\\n' \"$card\" \"$pin\" | quittance user add carol --card-stdin --pin-stdin",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[0]
			if err := n.read(cmd.InOrStdin()); err != nil {
				return err
			}
			return o.withSecrets(cmd.Context(), func(s *store.Store) error { return n.add(cmd, s) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.Card, "card", "", "the card's number")
	f.BoolVar(&n.cardStdin, "card-stdin", false, "read the card's number from standard input")
	f.StringVar(&n.PIN, "pin", "", "the PIN, 4 to 16 digits")
	f.BoolVar(&n.pinStdin, "pin-stdin", false, "read the PIN from standard input")
	f.BoolVar(&n.generatePIN, "generate-pin", false, "make a PIN of six digits")
	f.BoolVar(&n.passwordStdin, "password-stdin", false, "read the password from standard input")
	f.BoolVar(&n.generatePassword, "generate-password", false, "make a password")
	f.StringSliceVar(&n.Rights, "right", nil, "a right: manage_payments")
	cmd.MarkFlagsMutuallyExclusive("card", "card-stdin")
	cmd.MarkFlagsMutuallyExclusive("pin", "pin-stdin", "generate-pin")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "generate-password")
	n.format.flag(cmd)
	return cmd
}

// read takes a line for each secret that is to come from standard input.
func (n *newUser) read(from io.Reader) error {
	lines := bufio.NewScanner(from)
	for _, secret := range []struct {
		name   string
		wanted bool
		into   *string
	}{
		{"card", n.cardStdin, &n.Card}, {"PIN", n.pinStdin, &n.PIN}, {"password", n.passwordStdin, &n.Password},
	} {
		if !secret.wanted {
			continue
		}
		if !lines.Scan() || lines.Text() == "" {
			return errors.Join(fmt.Errorf("standard input has no line for the %s", secret.name), lines.Err())
		}
		*secret.into = lines.Text()
	}
	return nil
}

// pinTries is how many random PINs may turn out to be somebody's.
const pinTries = 20

func (n *newUser) add(cmd *cobra.Command, s *store.Store) error {
	if n.generatePassword {
		n.Password = store.NewSecret()
	}
	if err := n.addWithPIN(cmd.Context(), s); err != nil {
		return err
	}
	made := madeUser{Name: n.Name}
	if n.generatePIN {
		made.PIN = n.PIN
	}
	if n.generatePassword {
		made.Password = n.Password
	}
	return n.format.show(cmd, made.text(), made)
}

// madeUser is a user who was just made, with what was generated for him.
type madeUser struct {
	Name     string `json:"name"`
	PIN      string `json:"pin,omitempty"`
	Password string `json:"password,omitempty"`
}

func (m madeUser) text() string {
	lines := []string{"user:     " + m.Name}
	if m.PIN != "" {
		lines = append(lines, "PIN:      "+m.PIN)
	}
	if m.Password != "" {
		lines = append(lines, "password: "+m.Password)
	}
	if m.PIN+m.Password != "" {
		lines = append(lines, "This is shown once.")
	}
	return strings.Join(lines, "\n")
}

func (n *newUser) addWithPIN(ctx context.Context, s *store.Store) error {
	if !n.generatePIN {
		return s.AddUser(ctx, n.NewUser)
	}
	for range pinTries {
		n.PIN = store.NewPIN()
		if err := s.AddUser(ctx, n.NewUser); !errors.Is(err, store.ErrPINTaken) {
			return err
		}
	}
	return errors.New("every PIN that was tried is taken")
}

func (o *operator) switchUser(name, short string, disabled bool) *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     name + " NAME",
		Short:   short,
		Example: "  quittance user " + name + " alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				if err := s.SetUserDisabled(cmd.Context(), args[0], disabled); err != nil {
					return err
				}
				return format.show(cmd, name+"d "+args[0], struct {
					Name     string `json:"name"`
					Disabled bool   `json:"disabled"`
				}{args[0], disabled})
			})
		},
	}
	format.flag(cmd)
	return cmd
}

func (o *operator) listUsers() *cobra.Command {
	var page store.Page[int64]
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the users, newest first, and what they can log in with",
		Example: "  quittance user list\n  quittance user list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				users, err := s.Users(cmd.Context(), page)
				if err != nil {
					return err
				}
				return format.show(cmd, userTable(users), usersInJSON(users))
			})
		},
	}
	pageFlags(cmd, &page)
	format.flag(cmd)
	return cmd
}

func userTable(users []store.User) string {
	t := plainTable("id", "name", "card", "PIN", "password", "rights", "disabled", "made at")
	for _, u := range users {
		t.AppendRow(table.Row{u.ID, u.Name, u.Card, u.PIN, u.Password, strings.Join(u.Rights, " "), u.Disabled, u.CreatedAt.UTC().Format(shownTime)})
	}
	return t.Render()
}

// shownUser is a user in JSON. Of what he logs in with it says only what there is.
type shownUser struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	Card      bool      `json:"card"`
	PIN       bool      `json:"pin"`
	Password  bool      `json:"password"`
	Rights    []string  `json:"rights"`
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"createdAt"`
}

func usersInJSON(users []store.User) []shownUser {
	shown := make([]shownUser, 0, len(users))
	for _, u := range users {
		shown = append(shown, shownUser{u.ID, u.Name, u.Card, u.PIN, u.Password, u.Rights, u.Disabled, u.CreatedAt.UTC()})
	}
	return shown
}
