package eventlog

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blob := rapid.SliceOfN(rapid.Byte(), 0, 300)
		want := frame{
			id: rapid.StringN(1, 64, maxID).Draw(t, "id"), cursor: blob.Draw(t, "cursor"),
			maker: Maker{
				Plugin: rapid.StringN(0, 20, 60).Draw(t, "plugin"), Connector: rapid.StringN(0, 20, 60).Draw(t, "connector"),
				CursorVersion: rapid.IntRange(0, 3).Draw(t, "version"),
			},
			total: rapid.Uint64().Draw(t, "total"), count: rapid.Uint64().Draw(t, "count"), payload: blob.Draw(t, "payload"),
		}
		b := want.append(nil)
		got, err := parseFrame(b)
		if err != nil || got.id != want.id || !bytes.Equal(got.cursor, want.cursor) || got.maker != want.maker || got.total != want.total ||
			got.count != want.count || !bytes.Equal(got.payload, want.payload) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		head := len(b) - len(want.payload)
		if _, err := parseFrame(b[:rapid.IntRange(0, head-1).Draw(t, "cut")]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("a header that is cut: %v", err)
		}
	})
}

// TestFrameWithoutMaker: messages of before makers were noted are read, and written.
func TestFrameWithoutMaker(t *testing.T) {
	old := []byte("\x01\x02id\x01c\x03\x02payload")
	f, err := parseFrame(old)
	if err != nil || f.maker != (Maker{}) || f.id != "id" || string(f.cursor) != "c" || f.total != 3 || f.count != 2 || string(f.payload) != "payload" {
		t.Errorf("%+v, %v", f, err)
	}
	if got := f.append(nil); !bytes.Equal(got, old) {
		t.Errorf("written as %q, want %q", got, old)
	}
}

func TestPartsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 300)).Draw(t, "parts")
		var b []byte
		size := 0
		for _, p := range want {
			b = appendPart(b, p)
			size += partSize(len(p))
		}
		if len(b) != size {
			t.Fatalf("parts take %d bytes, partSize says %d", len(b), size)
		}
		got, err := splitParts(b)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d parts, %v, want %d", len(got), err, len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("part %d = %x, want %x", i, got[i], want[i])
			}
		}
	})
}

func FuzzParseFrame(f *testing.F) {
	f.Add(frame{id: "a", cursor: []byte("c"), total: 300, count: 3, payload: []byte("p")}.append(nil))
	f.Add([]byte{frameVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{frameMade})
	f.Add(frame{id: "a", cursor: []byte("c"), maker: Maker{"file", "x", 2}, total: 300, count: 3, payload: []byte("p")}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFrame(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("err = %v", err)
			}
			return
		}
		again, err := parseFrame(got.append(nil))
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("again = %+v, %v, want %+v", again, err, got)
		}
		_, _, _ = parseTally(1, b)
	})
}

func FuzzSplitParts(f *testing.F) {
	f.Add(appendPart(appendPart(nil, []byte("one")), nil))
	f.Add([]byte{5, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, err := splitParts(b)
		if err != nil {
			return
		}
		n := 0
		for _, p := range parts {
			n += len(p)
		}
		if n > len(b) {
			t.Fatalf("%d bytes of parts in %d", n, len(b))
		}
	})
}

func TestToken(t *testing.T) {
	for _, name := range []string{"", "edr", "file.eve", "a b", "*", ">", "=", "=2e", "æ", "EVENTS.x\r\n", strings.Repeat("x", 300)} {
		tok := token(name)
		if strings.ContainsAny(tok, ".*> \t\r\n") || tok == "" {
			t.Errorf("token of %q is %q", name, tok)
		}
		if got := nameOf(events + "." + tok); got != name {
			t.Errorf("name of the token of %q is %q", name, got)
		}
		if got := nameOf(rejected + "." + tok + ".0123"); got != name {
			t.Errorf("name of the long subject of %q is %q", name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if name := rapid.String().Draw(t, "name"); untoken(token(name)) != name {
			t.Fatalf("%q becomes %q", name, untoken(token(name)))
		}
	})
}
