// Package eventlog is Kelpie's durable log: three streams on an embedded NATS
// JetStream server, in one folder, without a network.
//
//   - EVENTS holds what detectors report, one message for each batch, with the
//     detector's cursor in the message's header. It is the only cursor store.
//   - INPUTS holds everything that decide reads, in one order.
//   - REJECTED holds what could not be processed, within a quota per source.
//
// Payloads are opaque bytes. Every stream refuses when it is full and has room
// of its own, so that a full EVENTS never stops INPUTS. A publish that was
// answered is on the disk when Settings.Sync is "always".
//
// All types are safe for concurrent use unless their comment says otherwise.
package eventlog
