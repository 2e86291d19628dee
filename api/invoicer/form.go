package invoicer

import (
	"encoding/json"
	"errors"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // Europe/Kyiv, wherever we run
	"unicode"
	"unicode/utf8"

	"github.com/quittance/quittance/api"
)

// What may be wrong with a member of a request.
const (
	required   = "REQUIRED"    // it is missing, null or empty
	format     = "FORMAT"      // it is not of the documented kind
	outOfRange = "RANGE"       // it is too small or too large, too short or too long, or past
	mismatch   = "MISMATCH"    // it is not what another member, or the invoice, says
	notFor     = "NOT_ALLOWED" // it is not for a request of this kind
	notFound   = "NOT_FOUND"   // it names nothing that the caller has
	signature  = "SIGNATURE"   // the caller's key has not signed it
)

// form is one object of a request. What is wrong with its members is noted under their
// path, which mirrors the request; what they hold is never repeated.
type form struct {
	path    string // with the dot: "data.cardFrom."
	members api.Object
	wrong   api.Problems
}

func (f form) check(name string, ok bool, code string) { f.wrong.Check(f.path+name, ok, code) }

// sent returns a member that is there, and not null.
func (f form) sent(name string) (json.RawMessage, bool) {
	raw, there := f.members[name]
	return raw, there && string(raw) != "null"
}

// require reports those that are missing. An empty text is as good as none.
func (f form) require(names ...string) {
	for _, name := range names {
		raw, sent := f.sent(name)
		f.check(name, sent && string(raw) != `""`, required)
	}
}

// text reads a text of at most so many characters; "" where none was sent.
func (f form) text(name string, most int) (text string) {
	raw, sent := f.sent(name)
	if !sent {
		return ""
	}
	valid := json.Unmarshal(raw, &text) == nil && !strings.ContainsFunc(text, unicode.IsControl)
	f.check(name, valid, format)
	f.check(name, utf8.RuneCountInString(text) <= most, outOfRange)
	return text
}

// matching reads a text of a certain form.
func (f form) matching(name string, pattern *regexp.Regexp) string {
	text := f.text(name, maxText)
	f.check(name, text == "" || pattern.MatchString(text), format)
	return text
}

// oneOf reads one of a few words.
func (f form) oneOf(name string, words ...string) string {
	text := f.text(name, maxText)
	f.check(name, text == "" || slices.Contains(words, text), format)
	return text
}

// integer reads a number without fraction and exponent, strictly: it may be money. 0
// stands for none.
func (f form) integer(name string, least, most int64) int64 {
	raw, sent := f.sent(name)
	if !sent {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	f.check(name, err == nil || errors.Is(err, strconv.ErrRange), format)
	f.check(name, err == nil && least <= n && n <= most, outOfRange)
	return n
}

// number reads a number that may also be sent as a text of digits.
func (f form) number(name string) int64 {
	var id api.ID
	f.members.Read(name, &id)
	problems := api.Problems{}
	problems.Optional(name, id)
	f.check(name, len(problems) == 0, format)
	return id.Value
}

// flag reads true or false; false where none was sent.
func (f form) flag(name string) bool {
	raw, sent := f.sent(name)
	f.check(name, !sent || string(raw) == "true" || string(raw) == "false", format)
	return string(raw) == "true"
}

// lastMoment is the end of the year 9999, in milliseconds since 1970.
const lastMoment = 253_402_300_799_999

// moment reads milliseconds since 1970; zero where none were sent.
func (f form) moment(name string) time.Time {
	if ms := f.integer(name, 1, lastMoment); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// kyiv is where the original's times without a zone are.
var kyiv = mustLoad("Europe/Kyiv")

func mustLoad(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err) // the database of zones is linked in
	}
	return zone
}

// kyivTime reads YYYY-MM-DD HH:MM:SS; zero where none was sent.
func (f form) kyivTime(name string) time.Time {
	text := f.text(name, maxText)
	if text == "" {
		return time.Time{}
	}
	t, err := time.ParseInLocation(time.DateTime, text, kyiv)
	f.check(name, err == nil && len(text) == len(time.DateTime), format) // Parse also takes fractions of a second
	f.check(name, err != nil || t.Year() >= 1970, outOfRange)
	return t
}

// address reads where a browser, or we, may be sent: to a host by http or https. Who has a
// password does not write it there.
func (f form) address(name string) string {
	text := f.text(name, maxURL)
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	f.check(name, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && sanePort(u), format)
	return text
}

func sanePort(u *url.URL) bool {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && n > 0
}

var asciiText = regexp.MustCompile(`^[\x21-\x7e]+$`)

// email reads the address of a mailbox, without a name around it.
func (f form) email(name string) string {
	text := f.text(name, maxEmail)
	if text == "" {
		return ""
	}
	mailbox, err := mail.ParseAddress(text)
	f.check(name, err == nil && mailbox.Address == text && asciiText.MatchString(text), format)
	return text
}

// object reads an object within this one; empty where none was sent.
func (f form) object(name string) form {
	inner := form{path: f.path + name + ".", wrong: f.wrong}
	if raw, sent := f.sent(name); sent {
		f.check(name, json.Unmarshal(raw, &inner.members) == nil, format)
	}
	return inner
}

// items reads a list of at most so many values, as a form whose members are called by
// their index.
func (f form) items(name string, most int) (items form, count int) {
	items = form{path: f.path + name + ".", members: api.Object{}, wrong: f.wrong}
	var values []json.RawMessage
	if raw, sent := f.sent(name); sent {
		f.check(name, json.Unmarshal(raw, &values) == nil, format)
	}
	f.check(name, len(values) <= most, outOfRange)
	for n, value := range values[:min(len(values), most)] {
		items.members[strconv.Itoa(n)] = value
	}
	return items, len(items.members)
}

// id reads what names something; the zero value where none was sent.
func id[ID any](f form, name string, parse func(string) (ID, bool)) (parsed ID) {
	if _, sent := f.sent(name); !sent {
		return parsed
	}
	parsed, ok := parse(f.text(name, maxText))
	f.check(name, ok, format)
	return parsed
}

// ids reads a list of what names something.
func ids[ID any](f form, name string, parse func(string) (ID, bool)) (all []ID) {
	items, count := f.items(name, maxListed)
	for n := range count {
		at := strconv.Itoa(n)
		items.require(at)
		all = append(all, id(items, at, parse))
	}
	return all
}
