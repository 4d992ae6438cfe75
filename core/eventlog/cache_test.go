package eventlog

import (
	"reflect"
	"testing"
	"time"
)

func TestBlocksAreSmallAndExpireSoon(t *testing.T) {
	log := mustOpen(t, Settings{Dir: t.TempDir()})
	srv, err := log.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	streams, err := field(reflect.ValueOf(srv.ns.GlobalAccount()), "js", "streams")
	if err != nil {
		t.Fatal(err)
	}
	if n := streams.Len(); n != 3 {
		t.Fatalf("the server has %d streams, want 3", n)
	}
	for _, name := range streams.MapKeys() {
		expiry, err := field(streams.MapIndex(name), "store", "fcfg", "CacheExpire")
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(expiry.Int()); got != blockExpiry {
			t.Errorf("%s keeps blocks for %s, want %s", name, got, blockExpiry)
		}
		size, err := field(streams.MapIndex(name), "store", "fcfg", "BlockSize")
		if err != nil {
			t.Fatal(err)
		}
		if got := size.Uint(); got == 0 || got > blockSize {
			t.Errorf("%s has blocks of %d bytes, and %d are enough", name, got, blockSize)
		}
	}
	if err := fitBlocks(srv.ns); err != nil {
		t.Error(err)
	}
	for _, names := range [][]string{{"js", "nothing"}, {"js", "streams", "store"}, {"Name", "x"}} {
		if _, err := field(reflect.ValueOf(srv.ns.GlobalAccount()), names...); err == nil {
			t.Errorf("%v is found", names)
		}
	}
}
