package acquirer

import (
	"fmt"
	"io"
	"log/slog"
)

const hidden = "[card details]"

// Format shows none of the details, whatever the verb: %d or %x of a struct would otherwise
// go past String.
func (Details) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String shows none of the details.
func (Details) String() string { return hidden }

// GoString shows none of the details.
func (Details) GoString() string { return hidden }

// LogValue shows none of the details.
func (Details) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON shows none of the details. The client has a type of its own for what it sends.
func (Details) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalText shows none of the details.
func (Details) MarshalText() ([]byte, error) { return []byte(hidden), nil }
