package main

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"
)

var sender = mail.Address{Name: "Kelpie", Address: "kelpie@example.org"}

// read takes a mail apart as a mail program does.
func read(t interface{ Fatalf(string, ...any) }, encoded []byte) (header mail.Header, text, html string) {
	message, err := mail.ReadMessage(bytes.NewReader(encoded))
	if err != nil {
		t.Fatalf("the mail cannot be read: %v", err)
	}
	_, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("Content-Type: %v", err)
	}
	parts := multipart.NewReader(message.Body, parameters["boundary"])
	bodies := map[string]string{}
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return message.Header, bodies["text/plain; charset=utf-8"], bodies["text/html; charset=utf-8"]
		} else if err != nil {
			t.Fatalf("part: %v", err)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatalf("part: %v", err)
		}
		bodies[part.Header.Get("Content-Type")] = strings.ReplaceAll(string(body), "\r\n", "\n")
	}
}

func checkHeaders(t interface{ Fatalf(string, ...any) }, subject, text, html string) {
	l := letter{
		from: sender, to: mail.Address{Address: "kim@example.org"}, replyTo: mail.Address{Name: "SOC", Address: "soc@example.org"},
		id: messageID("i-1", sender), thread: newThread("c-1", []string{"c-2\r\nBcc: x"}, sender), list: listID(sender), subject: subject, date: time.Unix(1e9, 0), text: text, html: html,
	}
	encoded, err := l.encode()
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	for line := range bytes.Lines(encoded) {
		if len(line) > 100 || !bytes.HasSuffix(line, []byte("\r\n")) || bytes.ContainsFunc(line[:len(line)-2], func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
			t.Fatalf("the line %q", line)
		}
	}
	header, gotText, gotHTML := read(t, encoded)
	if gotText != text || gotHTML != html {
		t.Fatalf("the parts are not what was written")
	}
	got, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
	if err != nil || strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(subject), " ") {
		t.Fatalf("subject = %q (%v), want %q", got, err, subject)
	}
	want := []string{"From", "To", "Reply-To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Thread-Topic", "Thread-Index", "List-Id", "Precedence", "Auto-Submitted", "X-Auto-Response-Suppress", "Mime-Version", "Content-Type"}
	if len(header) != len(want) {
		t.Fatalf("the headers are %v", header)
	}
	for _, name := range want {
		if len(header[name]) != 1 {
			t.Fatalf("header %s = %q", name, header[name])
		}
	}
}

func TestLetter(t *testing.T) {
	for _, subject := range []string{
		"plain", strings.Repeat("word ", 30) + "end", strings.Repeat("x", 150), "Grüße aus München", strings.Repeat("世界", 26), "=?utf-8?Q?spoof?=", "a  b",
	} {
		checkHeaders(t, subject, "line\n.\nFrom x\n", "<p>ä</p>\n")
	}
}

func TestMessageID(t *testing.T) {
	if got, want := messageID("I-1\r\n<x>", sender), "<kelpie.i-1---x--307a8dca96997a5c@example.org>"; got != want {
		t.Errorf("messageID = %s, want %s", got, want)
	}
}

func FuzzLetter(f *testing.F) {
	f.Add("subject", "text", "<html>")
	f.Add("ä\r\nBcc: x", ".\r\n.\n\r", "\x00\xff")
	f.Fuzz(func(t *testing.T, subject, text, html string) {
		// What reaches a letter has been made visible.
		clean := func(s string) string {
			return strings.Join(strings.Fields(strings.ToValidUTF8(line(s, 1000), "?")), " ")
		}
		checkHeaders(t, "x"+clean(subject), clean(text)+"\n", clean(html))
	})
}
