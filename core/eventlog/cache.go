package eventlog

import (
	"errors"
	"fmt"
	"reflect"
	"time"
	"unsafe"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// blockExpiry is how long a block of a stream that was written stays in memory. The
// server's own 10 s, for which it has no setting (nats-io/nats-server#5740), are 1.4 GB
// at 140 MB/s. Match follows closely; what it has not read by then it reads from the
// file.
const blockExpiry = 500 * time.Millisecond

// blockSize is what a stream's file holds. The server's own choice for large streams is
// 8 MiB, and it keeps several in memory, whole: those that are written, and those that
// somebody reads.
const blockSize = 4 << 20

// fitBlocks sets both for all streams of a server that nobody writes to yet, by way of
// fields that are not exported. It fails where they are not what they were in 2.15; then
// the log takes more memory, and works.
func fitBlocks(ns *natsserver.Server) error {
	streams, err := field(reflect.ValueOf(ns.GlobalAccount()), "js", "streams")
	if err != nil {
		return err
	}
	if streams.Kind() != reflect.Map {
		return fmt.Errorf("the server's streams are a %s", streams.Kind())
	}
	for _, name := range streams.MapKeys() {
		expiry, err1 := field(streams.MapIndex(name), "store", "fcfg", "CacheExpire")
		size, err2 := field(streams.MapIndex(name), "store", "fcfg", "BlockSize")
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if expiry.Type() != reflect.TypeFor[time.Duration]() || expiry.Int() <= 0 {
			return fmt.Errorf("the server's expiry is the %s %v", expiry.Type(), expiry)
		}
		if size.Kind() != reflect.Uint64 || size.Uint() == 0 {
			return fmt.Errorf("the server's size of blocks is the %s %v", size.Type(), size)
		}
		*(*time.Duration)(unsafe.Pointer(expiry.UnsafeAddr())) = blockExpiry
		*(*uint64)(unsafe.Pointer(size.UnsafeAddr())) = min(size.Uint(), blockSize)
	}
	return nil
}

// field follows names through structs, and whatever points to them.
func field(v reflect.Value, names ...string) (reflect.Value, error) {
	for _, name := range names {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || !v.FieldByName(name).IsValid() {
			return reflect.Value{}, fmt.Errorf("the server has no field %s", name)
		}
		v = v.FieldByName(name)
	}
	return v, nil
}
