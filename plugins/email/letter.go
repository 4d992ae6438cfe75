package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// letter is a mail before it is encoded.
type letter struct {
	from, replyTo, to mail.Address
	id                string
	thread            *thread // nil: it belongs to none
	list              string  // of List-Id
	subject           string
	date              time.Time
	text, html        string
}

// encode writes the mail as RFC 5322 wants it: ASCII only, short lines, CR LF. Nothing
// in it can add a header: what is not ASCII or printable is encoded.
func (l *letter) encode() ([]byte, error) {
	var out bytes.Buffer
	header := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%s: %s\r\n", name, value)
		}
	}
	// The boundary is a function of the id: an attempt repeated is the same mail.
	sum := sha256.Sum256([]byte(l.id))
	parts := multipart.NewWriter(&out)
	if err := parts.SetBoundary("kelpie-" + hex.EncodeToString(sum[:16])); err != nil {
		return nil, err
	}
	header("From", l.from.String())
	header("To", l.to.String())
	if l.replyTo.Address != "" {
		header("Reply-To", l.replyTo.String())
	}
	header("Subject", encodeText(l.subject))
	header("Date", l.date.Format(time.RFC1123Z))
	header("Message-ID", l.id)
	if l.thread != nil {
		header("In-Reply-To", l.thread.root)
		header("References", strings.Join(append(slices.Clone(l.thread.joined), l.thread.root), "\r\n "))
		header("Thread-Topic", l.thread.topic)
		header("Thread-Index", l.thread.index(l.id))
	}
	header("List-Id", l.list)
	header("Auto-Submitted", "auto-generated")
	header("Precedence", "bulk")
	header("X-Auto-Response-Suppress", "All")
	header("MIME-Version", "1.0")
	header("Content-Type", "multipart/alternative;\r\n boundary=\""+parts.Boundary()+"\"")
	out.WriteString("\r\n")
	for _, part := range []struct{ kind, content string }{{"text/plain", l.text}, {"text/html", l.html}} {
		w, err := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {part.kind + "; charset=utf-8"},
			"Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return nil, err
		}
		quoted := quotedprintable.NewWriter(w)
		if _, err := io.WriteString(quoted, strings.ReplaceAll(part.content, "\n", "\r\n")); err != nil {
			return nil, err
		}
		if err := quoted.Close(); err != nil {
			return nil, err
		}
	}
	if err := parts.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// encodeText writes a text of a header: as it is, folded, if it is plain, else in
// encoded words (RFC 2047) of at most 75 characters, each on a line of its own.
func encodeText(text string) string {
	const most = 45 // bytes: 60 characters in base64
	long := func(word string) bool { return len(word) > 64 }
	if isPlain(text) && !strings.Contains(text, "=?") && !slices.ContainsFunc(strings.Fields(text), long) {
		return strings.Join(wrap(text, 64), "\r\n ")
	}
	var words []string
	for len(text) > 0 {
		end := min(most, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		words = append(words, "=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(text[:end]))+"?=")
		text = text[end:]
	}
	return strings.Join(words, "\r\n ")
}

func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
