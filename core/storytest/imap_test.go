package storytest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strconv"
	"strings"
	"testing"
	"time"
)

// letter is a mail as its reader has it.
type letter struct {
	mail.Header
	subject, plain, html string
}

// mailbox gives all mails of somebody's inbox, the oldest first.
func (s servers) mailbox(t *testing.T, name string) []letter {
	t.Helper()
	raw, err := s.fetch(name)
	must(t, err)
	all := make([]letter, len(raw))
	for i, text := range raw {
		all[i], err = read(text)
		must(t, err)
	}
	return all
}

// fetch speaks as much IMAP (RFC 3501) as it takes to read an inbox.
func (s servers) fetch(name string) (mails [][]byte, err error) {
	conn, err := net.DialTimeout("tcp", s.IMAP, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	if _, err := r.ReadString('\n'); err != nil { // the greeting
		return nil, err
	}
	for i, command := range []string{"LOGIN " + name + " secret", "EXAMINE INBOX", "UID FETCH 1:* BODY.PEEK[]", "LOGOUT"} {
		tag := "a" + strconv.Itoa(i)
		if _, err := fmt.Fprintf(conn, "%s %s\r\n", tag, command); err != nil {
			return nil, err
		}
		literals, err := answer(r, tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
		mails = append(mails, literals...)
	}
	return mails, nil
}

// answer reads what there is for a command, until it is done.
func answer(r *bufio.Reader, tag string) (literals [][]byte, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			if !strings.HasPrefix(rest, "OK") {
				return nil, fmt.Errorf("the server says %s", rest)
			}
			return literals, nil
		}
		if open := strings.LastIndexByte(line, '{'); open >= 0 && strings.HasSuffix(line, "}") {
			n, err := strconv.Atoi(line[open+1 : len(line)-1])
			if err != nil {
				return nil, err
			}
			text := make([]byte, n)
			if _, err := io.ReadFull(r, text); err != nil {
				return nil, err
			}
			literals = append(literals, text)
		}
	}
}

// read takes a mail of two parts apart.
func read(raw []byte) (l letter, err error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return l, err
	}
	l.Header = m.Header
	if l.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return l, err
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return l, err
	}
	if kind != "multipart/alternative" {
		return l, fmt.Errorf("a mail is %s", kind)
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return l, nil
		} else if err != nil {
			return l, err
		}
		var body io.Reader = p
		if strings.EqualFold(p.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
			body = quotedprintable.NewReader(p)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return l, err
		}
		switch kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); kind {
		case "text/plain":
			l.plain = strings.ReplaceAll(string(text), "\r\n", "\n")
		case "text/html":
			l.html = string(text)
		default:
			return l, fmt.Errorf("a part is %q", kind)
		}
	}
}
