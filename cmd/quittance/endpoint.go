package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// endpoint keeps the addresses to which callbacks go.
func (o *operator) endpoint() *cobra.Command {
	endpoint := &cobra.Command{Use: "endpoint", Short: "Keep the endpoints to which callbacks go"}
	endpoint.AddCommand(o.addEndpoint(), o.listEndpoints(), o.showEndpoint(),
		o.switchEndpoint("enable", "Let callbacks go to an endpoint again: what was held is sent, and what failed before is forgotten", (*store.Store).EnableEndpoint),
		o.switchEndpoint("disable", "Hold what is for an endpoint until it is enabled, by an operator", (*store.Store).DisableEndpoint),
		o.rotateEndpoint(), o.limitEndpoint(), o.removeEndpoint(), o.testEndpoint())
	return endpoint
}

// endpointOf reads the id of an endpoint.
func endpointOf(text string) (store.EndpointID, error) {
	id, ok := store.ParseEndpointID(text)
	if !ok {
		return id, misused(fmt.Errorf("%q: an endpoint's id is a UUID", text))
	}
	return id, nil
}

// clientFlag finds the client that a flag names; 0 where it names none.
func clientFlag(ctx context.Context, s *store.Store, name string) (int64, error) {
	if name == "" {
		return 0, nil
	}
	client, err := s.ClientNamed(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("--client %q: %w", name, err)
	}
	return client, nil
}

func (o *operator) addEndpoint() *cobra.Command {
	var clientID, address, description string
	var types []string
	var limit int
	var by store.EndpointCommand
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "add --client ID --url URL",
		Short: "Register an endpoint of a client and show its secret, once",
		Long: `Register an endpoint of a client and show its secret, once. It is told of all events of the
client's own, or of those that --event names:

  ` + strings.Join(eventNames(), "\n  ") + `

invoice.paid, of invoices that are paid from a wallet, is nobody's: it is sent wherever an
operator chooses it.`,
		Example: `  quittance callback endpoint add --client backoffice --url https://partner.example/callbacks
  quittance callback endpoint add --client shop --url https://shop.example/told --event payment.finished --event payment.reversed --limit 50`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings := store.EndpointSettings{URL: &address, Description: &description, RateLimit: &limit, EventTypes: &[]store.EventType{}}
			for _, t := range types {
				*settings.EventTypes = append(*settings.EventTypes, store.EventType(t))
			}
			by.ID = store.NewEndpointID()
			return o.withSecrets(cmd.Context(), func(s *store.Store) error {
				client, err := clientFlag(cmd.Context(), s, clientID)
				if err != nil {
					return err
				}
				made, err := s.CreateEndpoint(cmd.Context(), client, settings, by)
				if err != nil {
					return inFlags(err)
				}
				return format.show(cmd, endpointText(made), endpointInJSON(made))
			})
		},
	}
	cmd.Flags().StringVar(&clientID, "client", "", "the client's id")
	cmd.Flags().StringVar(&address, "url", "", "where callbacks are to go, https")
	cmd.Flags().StringArrayVar(&types, "event", nil, "an event type; may be repeated; none for all of the client's own")
	cmd.Flags().StringVar(&description, "description", "", "what for")
	cmd.Flags().IntVar(&limit, "limit", 0, "callbacks a second; 0 for no limit")
	cmd.Flags().BoolVar(&by.AllowHTTP, "allow-http", false, "let the address be plain http; in development")
	for _, name := range []string{"client", "url"} {
		_ = cmd.MarkFlagRequired(name) // the flag is defined above
	}
	format.flag(cmd)
	return cmd
}

func eventNames() (names []string) {
	for _, t := range store.EventTypes() {
		names = append(names, string(t))
	}
	return names
}

// inFlags names the flag instead of the field.
func inFlags(err error) error {
	flags := map[string]string{"url": "--url", "eventTypes": "--event", "description": "--description", "rateLimit": "--limit"}
	var wrong *store.FieldError
	if errors.As(err, &wrong) {
		return misused(fmt.Errorf("%s %s", flags[wrong.Field], wrong.Problem))
	}
	return err
}

func (o *operator) listEndpoints() *cobra.Command {
	var clientID, before string
	page := store.Page[store.EndpointID]{}
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the endpoints, newest first: registered ones, and those that invoices' callbackUrls made",
		Example: "  quittance callback endpoint list --client backoffice\n  quittance callback endpoint list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if before != "" {
				if page.Before, err = endpointOf(before); err != nil {
					return err
				}
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				client, err := clientFlag(cmd.Context(), s, clientID)
				if err != nil {
					return err
				}
				all, err := s.Endpoints(cmd.Context(), client, page)
				if err != nil {
					return err
				}
				return format.show(cmd, endpointTable(all), endpointsInJSON(all))
			})
		},
	}
	cmd.Flags().StringVar(&clientID, "client", "", "only those of the client with this id")
	cmd.Flags().IntVar(&page.Limit, "limit", 50, "how many")
	cmd.Flags().StringVar(&before, "before", "", "only those that are older than the one with this id")
	format.flag(cmd)
	return cmd
}

// onEndpoint is a command on the endpoint that its first argument names. do returns what is
// shown.
func (o *operator) onEndpoint(use, short, example string, args int, open func(context.Context, func(*store.Store) error) error,
	do func(*cobra.Command, *store.Store, store.EndpointID, []string, *outputFormat) error,
) *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Example: "  quittance callback endpoint " + example,
		Args:    cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := endpointOf(args[0])
			if err != nil {
				return err
			}
			return open(cmd.Context(), func(s *store.Store) error {
				if err := do(cmd, s, id, args[1:], &format); err != nil {
					return fmt.Errorf("endpoint %s: %w", id, err)
				}
				return nil
			})
		},
	}
	format.flag(cmd)
	return cmd
}

const exampleEndpoint = "01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74"

func (o *operator) showEndpoint() *cobra.Command {
	return o.onEndpoint("show ENDPOINT", "Show an endpoint", "show "+exampleEndpoint, 1, o.withStore,
		func(cmd *cobra.Command, s *store.Store, id store.EndpointID, _ []string, format *outputFormat) error {
			e, err := s.Endpoint(cmd.Context(), 0, id)
			if err != nil {
				return err
			}
			return format.show(cmd, endpointText(e), endpointInJSON(e))
		})
}

func (o *operator) switchEndpoint(name, short string, set func(*store.Store, context.Context, store.EndpointCommand) (store.Endpoint, error)) *cobra.Command {
	return o.onEndpoint(name+" ENDPOINT", short, name+" "+exampleEndpoint, 1, o.withStore,
		func(cmd *cobra.Command, s *store.Store, id store.EndpointID, _ []string, format *outputFormat) error {
			e, err := set(s, cmd.Context(), store.EndpointCommand{ID: id})
			if err != nil {
				return err
			}
			return format.show(cmd, name+"d "+id.String(), endpointInJSON(e))
		})
}

func (o *operator) rotateEndpoint() *cobra.Command {
	return o.onEndpoint("rotate ENDPOINT", "Give a registered endpoint a new secret, shown once; the one of before is good for 24 hours, one before that no more",
		"rotate "+exampleEndpoint, 1, o.withSecrets,
		func(cmd *cobra.Command, s *store.Store, id store.EndpointID, _ []string, format *outputFormat) error {
			e, err := s.RotateSecret(cmd.Context(), store.EndpointCommand{ID: id})
			if err != nil {
				return err
			}
			return format.show(cmd, endpointText(e), endpointInJSON(e))
		})
}

func (o *operator) limitEndpoint() *cobra.Command {
	return o.onEndpoint("limit ENDPOINT N", "Send an endpoint at most N callbacks a second from each worker; 0 for no limit", "limit "+exampleEndpoint+" 50", 2, o.withStore,
		func(cmd *cobra.Command, s *store.Store, id store.EndpointID, args []string, format *outputFormat) error {
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return misused(fmt.Errorf("%q is no number of callbacks a second", args[0]))
			}
			e, err := s.ChangeEndpoint(cmd.Context(), store.EndpointSettings{RateLimit: &n}, store.EndpointCommand{ID: id})
			if err != nil {
				return inFlags(err)
			}
			return format.show(cmd, "limited "+id.String(), endpointInJSON(e))
		})
}

func (o *operator) removeEndpoint() *cobra.Command {
	return o.onEndpoint("remove ENDPOINT", "Delete a registered endpoint; what is for it and was not sent yet ends", "remove "+exampleEndpoint, 1, o.withStore,
		func(cmd *cobra.Command, s *store.Store, id store.EndpointID, _ []string, format *outputFormat) error {
			if err := s.DeleteEndpoint(cmd.Context(), store.EndpointCommand{ID: id}); err != nil {
				return err
			}
			return format.show(cmd, "removed "+id.String(), struct {
				ID string `json:"id"`
			}{id.String()})
		})
}

func (o *operator) testEndpoint() *cobra.Command {
	return o.onEndpoint("test ENDPOINT", "Send a callback.test to a registered endpoint", "test "+exampleEndpoint, 1, o.withStore,
		func(cmd *cobra.Command, s *store.Store, id store.EndpointID, _ []string, format *outputFormat) error {
			answer, err := s.TestEndpoint(cmd.Context(), store.EndpointTest{ID: id})
			if err != nil {
				return err
			}
			sent := sentAgain{ID: answer.Operation.String()}
			return format.show(cmd, sent.text(), sent)
		})
}

// sentAgain names a callback that was enqueued.
type sentAgain struct {
	ID string `json:"id"`
}

func (s sentAgain) text() string {
	return "accepted: see quittance callback show " + s.ID
}

func endpointTable(all []store.Endpoint) string {
	t := plainTable("id", "client", "policy", "address", "events", "limit", "state", "failures", "failing since", "made at")
	for _, e := range all {
		t.AppendRow(table.Row{
			e.ID, e.ClientID, e.Policy, addressOf(e), eventsOf(e), limitOf(e), stateOf(e), e.Failures, timeOrNothing(e.FailingSince), e.CreatedAt.UTC().Format(shownTime),
		})
	}
	return t.Render()
}

func addressOf(e store.Endpoint) string {
	if e.URL == "" {
		return e.Origin
	}
	return e.URL
}

func eventsOf(e store.Endpoint) string {
	if len(e.EventTypes) == 0 {
		return "all"
	}
	var names []string
	for _, t := range e.EventTypes {
		names = append(names, string(t))
	}
	return strings.Join(names, "\n")
}

func limitOf(e store.Endpoint) string {
	if e.RateLimit == 0 {
		return ""
	}
	return strconv.Itoa(e.RateLimit) + "/s"
}

func stateOf(e store.Endpoint) string {
	if e.StateReason == "" {
		return string(e.State)
	}
	return string(e.State) + ": " + string(e.StateReason)
}

func timeOrNothing(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(shownTime)
}

func endpointText(e store.Endpoint) string {
	lines := []string{
		"id:          " + e.ID.String(), "client:      " + e.ClientID, "policy:      " + string(e.Policy), "address:     " + addressOf(e),
		"events:      " + strings.ReplaceAll(eventsOf(e), "\n", ", "), "state:       " + stateOf(e),
	}
	for _, more := range []struct{ name, text string }{
		{"description: ", e.Description},
		{"limit:       ", limitOf(e)},
		{"old secret:  ", timeOrNothing(e.OldSecretUntil)},
		{"secret:      ", e.Secret},
	} {
		if more.text != "" {
			lines = append(lines, more.name+more.text)
		}
	}
	if e.Secret != "" {
		lines = append(lines, "The secret is shown this once.")
	}
	return strings.Join(lines, "\n")
}

// shownEndpoint is an endpoint in JSON.
type shownEndpoint struct {
	ID             string     `json:"id"`
	Client         string     `json:"client"`
	Policy         string     `json:"policy"`
	URL            string     `json:"url,omitempty"`
	Origin         string     `json:"origin"`
	EventTypes     []string   `json:"eventTypes"`
	Description    string     `json:"description"`
	RateLimit      int        `json:"rateLimit,omitempty"`
	State          string     `json:"state"`
	StateReason    string     `json:"stateReason,omitempty"`
	FailingSince   *time.Time `json:"failingSince,omitempty"`
	Failures       int        `json:"failures"`
	Secret         string     `json:"secret,omitempty"`
	OldSecretUntil *time.Time `json:"oldSecretUntil,omitempty"`
	CreatedAt      time.Time  `json:"createdAt"`
}

func endpointInJSON(e store.Endpoint) shownEndpoint {
	types := make([]string, len(e.EventTypes))
	for i, t := range e.EventTypes {
		types[i] = string(t)
	}
	return shownEndpoint{
		ID: e.ID.String(), Client: e.ClientID, Policy: string(e.Policy), URL: e.URL, Origin: e.Origin, EventTypes: types, Description: e.Description,
		RateLimit: e.RateLimit, State: string(e.State), StateReason: string(e.StateReason), FailingSince: inUTC(e.FailingSince), Failures: e.Failures,
		Secret: e.Secret, OldSecretUntil: inUTC(e.OldSecretUntil), CreatedAt: e.CreatedAt.UTC(),
	}
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}

func endpointsInJSON(all []store.Endpoint) []shownEndpoint {
	shown := make([]shownEndpoint, len(all))
	for i, e := range all {
		shown[i] = endpointInJSON(e)
	}
	return shown
}
