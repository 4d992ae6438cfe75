package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/mail"
	"slices"
	"strings"
)

// thread is what makes the mails of one case one conversation. They answer a message
// that was never sent, so that it does not matter which of them came, and in what order.
type thread struct {
	root   string   // Message-ID
	joined []string // roots of cases that have become part of it
	topic  string
	guid   [16]byte
}

// maxJoined bounds the header References.
const maxJoined = 20

// newThread is nil without a name.
func newThread(name string, joined []string, from mail.Address) *thread {
	if name == "" {
		return nil
	}
	t := &thread{root: messageID("case-"+name, from), topic: "Kelpie " + clean(name)}
	for _, other := range joined[:min(len(joined), maxJoined)] {
		if root := messageID("case-"+other, from); root != t.root && !slices.Contains(t.joined, root) {
			t.joined = append(t.joined, root)
		}
	}
	sum := sha256.Sum256([]byte(t.root))
	copy(t.guid[:], sum[:])
	return t
}

// index is what Outlook and Exchange go by: a header block with the conversation's id,
// and a block for the mail, which answers it. The times in it are of no consequence;
// Outlook sorts by Date.
func (t *thread) index(id string) string {
	block := append([]byte{1, 0xd0, 0, 0, 0, 0}, t.guid[:]...)
	sum := sha256.Sum256([]byte(id))
	return base64.StdEncoding.EncodeToString(append(block, sum[:5]...))
}

// messageID is the same for every attempt, so that mail programs show one mail of
// two.
func messageID(key string, from mail.Address) string {
	return "<kelpie." + clean(key) + "@" + domain(from) + ">"
}

// listID is what filters go by, and tells autoresponders that nobody reads what they say.
func listID(from mail.Address) string {
	return "Kelpie <kelpie." + domain(from) + ">"
}

func domain(from mail.Address) string {
	return from.Address[strings.LastIndexByte(from.Address, '@')+1:]
}

// clean leaves what may be in an id, and tells apart what would be the same then or is
// too long.
func clean(key string) string {
	const most = 60
	out := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(key))
	if out == key && len(out) <= most {
		return out
	}
	sum := sha256.Sum256([]byte(key))
	return out[:min(len(out), most)] + "-" + hex.EncodeToString(sum[:8])
}
