package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	inFlightBytes = 16 << 20
	// A pull ends by itself so soon that Close can wait for it, instead of
	// throwing away what is on its way.
	pullWait  = 250 * time.Millisecond
	retryWait = 200 * time.Millisecond

	ack = "+ACK"
	nak = "-NAK"
)

// Message is a batch of EVENTS, to be answered once with Ack or Nak.
type Message struct {
	Seq      uint64
	Instance string
	Time     time.Time // when the log took it
	// Header is zero when it cannot be read; Payload is then the whole message.
	Header
	Payload []byte

	consumer *Consumer
	reply    string // guarded by consumer.mu
	size     int
}

// Ack says that the message needs not come again. It is not waited for: after a
// crash a message may come again all the same.
func (m *Message) Ack() error { return m.consumer.answer(m, ack) }

// Nak hands the message back; it comes again at once.
func (m *Message) Nak() error { return m.consumer.answer(m, nak) }

// Consumer hands out the messages of EVENTS that were not acknowledged yet, to
// any number of workers. At most 64 messages and 16 MiB are on their way or
// unanswered. A message that its worker still holds is not handed out again. All
// consumers of a log share one position.
type Consumer struct {
	log     *Log
	out     chan *Message
	cancel  context.CancelFunc
	closing <-chan struct{} // ends with cancel
	done    chan struct{}   // closed when pull has ended

	next uint64 // the sequence that comes next for the first time; pull's alone

	mu     sync.Mutex
	held   map[uint64]*Message // received and not answered
	bytes  int
	again  []*Message    // handed back, and not known to the server
	change chan struct{} // has room for one; sent to when something was answered
}

// Events starts a consumer. Close it.
func (l *Log) Events(ctx context.Context) (*Consumer, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return nil, err
	}
	info, err := srv.match.Info(ctx)
	if err != nil {
		return nil, srv.sick(fmt.Errorf("consumer %s: %w", matchName, err))
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Consumer{
		log:     l,
		out:     make(chan *Message),
		cancel:  cancel,
		closing: ctx.Done(),
		done:    make(chan struct{}),
		held:    map[uint64]*Message{},
		next:    info.Delivered.Stream + 1,
		change:  make(chan struct{}, 1),
	}
	go c.pull(ctx)
	return c, nil
}

// Next returns a message, waiting for one until ctx ends. It fails with
// ErrClosed after Close.
func (c *Consumer) Next(ctx context.Context) (*Message, error) {
	select {
	case m := <-c.out:
		return m, nil
	case <-c.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close stops the consumer and hands back what was received and not answered;
// answers that come later do nothing. It is done within seconds.
func (c *Consumer) Close() {
	c.cancel()
	<-c.done
	c.mu.Lock()
	held := c.held
	c.held = map[uint64]*Message{}
	c.mu.Unlock()
	for _, m := range held {
		_ = c.send(m.reply, nak) // if it is lost, opening the log makes up for it
	}
}

func (c *Consumer) pull(ctx context.Context) {
	defer close(c.done)
	for {
		c.rehand()
		messages, bytes, ok := c.room()
		if !ok {
			return
		}
		srv, err := c.log.server(ctx)
		var batch jetstream.MessageBatch
		if err == nil {
			batch, err = srv.match.Fetch(messages, jetstream.FetchMaxBytes(bytes), jetstream.FetchMaxWait(pullWait))
		}
		if err == nil {
			for msg := range batch.Messages() {
				c.take(msg)
			}
			err = batch.Error()
		}
		if err != nil && !c.pause(err) {
			return
		}
	}
}

// room waits until the largest message would fit and says how much would.
func (c *Consumer) room() (messages, bytes int, ok bool) {
	for {
		c.mu.Lock()
		messages, bytes = maxPending-len(c.held), inFlightBytes-c.bytes
		c.mu.Unlock()
		select {
		case <-c.closing:
			return 0, 0, false
		default:
		}
		if messages > 0 && bytes >= maxMessage+frameRoom {
			return messages, bytes, true
		}
		select {
		case <-c.change:
		case <-c.closing:
			return 0, 0, false
		}
	}
}

// pause waits a little after a failed pull; the log may be being opened again.
func (c *Consumer) pause(err error) bool {
	c.log.set.Logger.Debug("event log pull", "error", err)
	t := time.NewTimer(retryWait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.closing:
		return false
	}
}

// take hands on a message that the server has handed out.
func (c *Consumer) take(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		return // not a message of the stream
	}
	seq := meta.Sequence.Stream
	for c.next < seq {
		if !c.skipped(c.next) {
			return
		}
		c.next++
	}
	c.next = max(c.next, seq+1)
	c.mu.Lock()
	if m := c.held[seq]; m != nil {
		m.reply = msg.Reply()
		c.mu.Unlock()
		return
	}
	m := &Message{
		Seq: seq, Instance: nameOf(msg.Subject()), Time: meta.Timestamp,
		consumer: c, reply: msg.Reply(), size: len(msg.Data()),
	}
	if f, err := parseFrame(msg.Data()); err == nil {
		m.Header, m.Payload = f.header(), f.payload
	} else {
		m.Payload = msg.Data()
	}
	c.mu.Unlock()
	c.hand(m)
}

// hand gives a message to a worker, waiting for one.
func (c *Consumer) hand(m *Message) {
	c.mu.Lock()
	c.held[m.Seq] = m
	c.bytes += m.size
	c.mu.Unlock()
	select {
	case c.out <- m:
	case <-c.closing:
	}
}

// rehand gives out again what was handed back and the server does not know.
func (c *Consumer) rehand() {
	c.mu.Lock()
	again := c.again
	c.again = nil
	c.mu.Unlock()
	for _, m := range again {
		c.hand(m)
	}
}

// skipped looks for a message that the server has passed over, as it does without a
// word where it can't read one. If it is not there, an empty one takes its place, so
// that it is accounted for. It returns false when the consumer is closed.
func (c *Consumer) skipped(seq uint64) bool {
	for {
		r, err := c.log.GetEvent(context.Background(), seq)
		switch {
		case err == nil:
			c.hand(&Message{
				Seq: seq, Instance: r.Source, Time: r.Time, Header: r.Header, Payload: r.Payload,
				consumer: c, size: len(r.Payload),
			})
			return true
		case errors.Is(err, ErrNotFound):
			c.log.missing(Damage{Stream: events, First: seq, Last: seq, Reason: "can't be read", Certain: true})
			c.hand(&Message{Seq: seq, consumer: c})
			return true
		case !c.pause(err):
			return false
		}
	}
}

func (c *Consumer) answer(m *Message, what string) error {
	c.mu.Lock()
	if c.held[m.Seq] != m {
		c.mu.Unlock()
		return nil
	}
	delete(c.held, m.Seq)
	c.bytes -= m.size
	reply := m.reply
	if reply == "" && what == nak {
		c.again = append(c.again, m)
	}
	c.mu.Unlock()
	select {
	case c.change <- struct{}{}:
	default:
	}
	return c.send(reply, what)
}

// send answers a message on whichever connection there is now: the server knows
// the message by its reply subject, also after it was opened again.
func (c *Consumer) send(reply, what string) error {
	if reply == "" {
		return nil // the server did not hand it out
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	srv, err := c.log.server(ctx)
	if err != nil {
		return err
	}
	return srv.ask.PublishMsg(&nats.Msg{Subject: reply, Data: []byte(what)})
}
