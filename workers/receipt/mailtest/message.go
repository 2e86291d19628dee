package mailtest

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"time"
)

// Message is a mail that was taken.
type Message struct {
	At          time.Time           `json:"at"`
	From        string              `json:"from"` // the envelope's, as is To
	To          []string            `json:"to"`
	Subject     string              `json:"subject"` // decoded
	Headers     map[string][]string `json:"headers"` // as they came
	Text        string              `json:"text"`    // the first plain text
	HTML        string              `json:"html,omitempty"`
	Attachments []Attachment        `json:"attachments"`

	size int
}

// Attachment is a part with a name, or one that is no text.
type Attachment struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Size    int    `json:"size"`
	Content []byte `json:"content"`
}

// newMessage reads a mail. Of what is not one, Text is all there is.
func newMessage(from string, to []string, raw []byte) Message {
	m := Message{At: time.Now().UTC(), From: from, To: to, Attachments: []Attachment{}, size: len(raw)}
	read, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		m.Text = string(raw)
		return m
	}
	m.Headers = read.Header
	m.Subject = decodeWords(read.Header.Get("Subject"))
	m.add(textproto.MIMEHeader(read.Header), read.Body, 0)
	return m
}

// maxDepth is of parts within parts.
const maxDepth = 10

// add takes a part apart.
func (m *Message) add(h textproto.MIMEHeader, body io.Reader, depth int) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind = "text/plain" // what RFC 2045 says of mail that does not tell
	}
	if strings.HasPrefix(kind, "multipart/") && depth < maxDepth {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err != nil {
				return // the end, or a mail that was cut off: what came before it is shown
			}
			m.add(part.Header, part, depth+1)
		}
	}
	content, _ := io.ReadAll(decodeTransfer(h.Get("Content-Transfer-Encoding"), body)) // as much as can be decoded
	m.addPart(h, kind, content)
}

func (m *Message) addPart(h textproto.MIMEHeader, kind string, content []byte) {
	disposition, params, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	name := decodeWords(params["filename"])
	shown := disposition != "attachment" && name == ""
	switch {
	case shown && kind == "text/plain" && m.Text == "":
		m.Text = strings.ReplaceAll(string(content), "\r\n", "\n")
	case shown && kind == "text/html" && m.HTML == "":
		m.HTML = strings.ReplaceAll(string(content), "\r\n", "\n")
	default:
		m.Attachments = append(m.Attachments, Attachment{Name: name, Type: kind, Size: len(content), Content: content})
	}
}

func decodeTransfer(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(encoding) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}

func decodeWords(text string) string {
	decoded, err := new(mime.WordDecoder).DecodeHeader(text)
	if err != nil {
		return text
	}
	return decoded
}
