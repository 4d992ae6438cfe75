package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	older  = "whsec_" + base64.StdEncoding.EncodeToString([]byte("fedcba9876543210fedcba9876543210"))
)

// request is what a receiver was sent.
type request struct {
	header http.Header
	body   string
	path   string
}

// receiver answers each request with the next of its answers, the last for ever.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	answers  []func(http.ResponseWriter, *http.Request)
	requests []request
}

func status(code int, headers ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "said\x1b[2J")
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }

func newReceiver(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) *receiver {
	t.Helper()
	r := &receiver{answers: answers}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, got *http.Request) {
		body, _ := io.ReadAll(got.Body)
		r.mu.Lock()
		answer := r.answers[min(len(r.requests), len(r.answers)-1)]
		r.requests = append(r.requests, request{got.Header.Clone(), string(body), got.URL.String()})
		r.mu.Unlock()
		answer(w, got)
	}))
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) got() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

func open(t *testing.T, c config) *webhook {
	t.Helper()
	if c.Secret == "" {
		c.Secret = secret
	}
	w := &webhook{config: c}
	if wrong := w.Validate(); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if err := w.Open(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func notify() sdk.Call {
	return sdk.Call{
		Verb: "notify", Target: sdk.Target{Kind: "address", Value: "soc@example.org"}, Key: "i-4711", NotAfter: time.Now().Add(20 * time.Second), Attempt: 1,
		Parameters: &notice{Notice: map[string]any{"case": "c1", "title": "<b>&"}},
	}
}

func run() sdk.Call {
	c := notify()
	c.Verb, c.Target, c.Parameters = "run", sdk.Target{Kind: "host", Value: "ws-17", Known: []byte(`{"owner":"kim"}`)}, &order{Name: "open_ticket", Data: map[string]any{"queue": "soc"}}
	return c
}

func execute(t *testing.T, w *webhook, c sdk.Call) sdk.Result {
	t.Helper()
	result, err := w.Execute(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestSignatureOfTheStandard takes the example of the reference implementations.
func TestSignatureOfTheStandard(t *testing.T) {
	key, err := parseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("sign = %s, want %s", got, want)
	}
}

func TestNotifyAndRun(t *testing.T) {
	r := newReceiver(t, status(204))
	r.Start()
	w := open(t, config{URL: r.URL + "/hook?team=soc", PreviousSecret: older, Authorization: "Bearer t0ken", Headers: map[string]string{"X-Tenant": "soc"}})
	second := notify()
	second.Attempt = 2
	for _, c := range []sdk.Call{notify(), second, run()} {
		if result := execute(t, w, c); result.Outcome != sdk.OutcomeDone || result.Reference != "i-4711" || strings.Contains(result.Message, "team") {
			t.Fatalf("result = %+v", result)
		}
	}
	for i, want := range []string{
		`{"type":"kelpie.notify","data":{"to":"soc@example.org","notice":{"case":"c1","title":"<b>&"},"attempt":1}}`,
		`{"type":"kelpie.notify","data":{"to":"soc@example.org","notice":{"case":"c1","title":"<b>&"},"attempt":2,"possible_repeat":true}}`,
		`{"type":"kelpie.run","data":{"name":"open_ticket","target":{"kind":"host","value":"ws-17","known":{"owner":"kim"}},"data":{"queue":"soc"},"attempt":1}}`,
	} {
		got := r.got()[i]
		var payload struct{ Timestamp time.Time }
		if err := json.Unmarshal([]byte(got.body), &payload); err != nil || time.Since(payload.Timestamp).Abs() > time.Minute {
			t.Errorf("body %d: %v, of %s", i, err, payload.Timestamp)
		}
		stamped := fmt.Sprintf(`"timestamp":%q,`, payload.Timestamp.Format(time.RFC3339Nano))
		if body := strings.Replace(got.body, stamped, "", 1); body != want {
			t.Errorf("body %d = %s, want %s", i, body, want)
		}
		at, err := strconv.ParseInt(got.header.Get("Webhook-Timestamp"), 10, 64)
		if err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
			t.Errorf("timestamp %d: %v", i, err)
		}
		current, _ := parseSecret(secret)
		previous, _ := parseSecret(older)
		if want := sign([][]byte{current, previous}, "i-4711", time.Unix(at, 0), []byte(got.body)); got.header.Get("Webhook-Signature") != want {
			t.Errorf("signature %d = %s, want %s", i, got.header.Get("Webhook-Signature"), want)
		}
		for name, want := range map[string]string{"Webhook-Id": "i-4711", "Authorization": "Bearer t0ken", "X-Tenant": "soc", "Content-Type": "application/json"} {
			if got.header.Get(name) != want {
				t.Errorf("%s = %q, want %q", name, got.header.Get(name), want)
			}
		}
	}
}

func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		name    string
		call    func() sdk.Call
		answers []func(http.ResponseWriter, *http.Request)
		want    sdk.Outcome
		sent    int
	}{
		{"200", notify, []func(http.ResponseWriter, *http.Request){status(200)}, sdk.OutcomeDone, 1},
		{"301", notify, []func(http.ResponseWriter, *http.Request){status(301, "Location", "/elsewhere")}, sdk.OutcomeRefused, 1},
		{"400", notify, []func(http.ResponseWriter, *http.Request){status(400)}, sdk.OutcomeRefused, 1},
		{"410", notify, []func(http.ResponseWriter, *http.Request){status(410)}, sdk.OutcomeRefused, 1},
		{"501", notify, []func(http.ResponseWriter, *http.Request){status(501)}, sdk.OutcomeRefused, 1},
		{"429 then 200", notify, []func(http.ResponseWriter, *http.Request){status(429), status(200)}, sdk.OutcomeDone, 2},
		{"503 then 200", run, []func(http.ResponseWriter, *http.Request){status(503), status(200)}, sdk.OutcomeDone, 2},
		{"500 then 200", notify, []func(http.ResponseWriter, *http.Request){status(500), status(200)}, sdk.OutcomeDone, 2},
		{"lost then 200", notify, []func(http.ResponseWriter, *http.Request){hangUp, status(200)}, sdk.OutcomeDone, 2},
		{"lost then 409", notify, []func(http.ResponseWriter, *http.Request){hangUp, status(409)}, sdk.OutcomeUnknown, 2},
		{"an order is not repeated after 500", run, []func(http.ResponseWriter, *http.Request){status(500)}, sdk.OutcomeUnknown, 1},
		{"an order is not repeated after a loss", run, []func(http.ResponseWriter, *http.Request){hangUp}, sdk.OutcomeUnknown, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, test.answers...)
			r.Start()
			result := execute(t, open(t, config{URL: r.URL}), test.call())
			if result.Outcome != test.want || len(r.got()) != test.sent || strings.Contains(result.Message, "\x1b") {
				t.Errorf("result = %+v after %d requests, want %s after %d", result, len(r.got()), test.want, test.sent)
			}
			for _, sent := range r.got() {
				if sent.header.Get("Webhook-Id") != "i-4711" || sent.body != r.got()[0].body {
					t.Errorf("a repeat differs: %v", sent)
				}
			}
		})
	}
}

func TestTimeIsOver(t *testing.T) {
	released := make(chan struct{})
	defer close(released)
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   sdk.Outcome
	}{
		"no answer": {func(http.ResponseWriter, *http.Request) { <-released }, sdk.OutcomeUnknown},
		"busy":      {status(503), sdk.OutcomeFailed},
		"broken":    {status(500), sdk.OutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, test.answer)
			r.Start()
			c := notify()
			c.NotAfter = time.Now().Add(3 * time.Second)
			result := execute(t, open(t, config{URL: r.URL}), c)
			if result.Outcome != test.want || len(r.got()) == 0 {
				t.Errorf("result = %+v, want %s", result, test.want)
			}
			if late := time.Since(c.NotAfter); late > 10*time.Second { // the machine may be busy
				t.Errorf("the answer comes %s after the end of the call", late)
			}
			if name == "no answer" {
				r.CloseClientConnections()
				released <- struct{}{}
			}
		})
	}
	w := open(t, config{URL: "http://127.0.0.1:1"})
	c := notify()
	c.NotAfter = time.Now().Add(time.Second)
	if result := execute(t, w, c); result.Outcome != sdk.OutcomeFailed {
		t.Errorf("with nobody there: %+v", result)
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	r := newReceiver(t, status(429, "Retry-After", "3600"), status(200))
	r.Start()
	w := open(t, config{URL: r.URL})
	for range 2 { // the second is not even sent
		if result := execute(t, w, notify()); result.Outcome != sdk.OutcomeFailed {
			t.Errorf("result = %+v", result)
		}
	}
	if len(r.got()) != 1 {
		t.Errorf("%d requests, want 1", len(r.got()))
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-1": 0, "Sun, 22 Nov 2026 12:00:30 GMT": 30 * time.Second, "Sun, 22 Nov 2020 12:00:30 GMT": 0, "99999999": maxPause, "soon": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestTLSIsVerified(t *testing.T) {
	r := newReceiver(t, status(200))
	r.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	r.StartTLS()
	result := execute(t, open(t, config{URL: r.URL}), notify())
	if result.Outcome != sdk.OutcomeFailed || !strings.Contains(result.Message, "certificate") || len(r.got()) > 0 {
		t.Errorf("result = %+v after %d requests", result, len(r.got()))
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if result := execute(t, open(t, config{URL: r.URL, CAFile: sdk.Path(path)}), notify()); result.Outcome != sdk.OutcomeDone {
		t.Errorf("with ca_file: %+v", result)
	}
}

// TestAddresses checks what a name may stand for.
func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		host, address string
		private, want bool
	}{
		{"hooks.example.org", "203.0.113.7:443", false, true},
		{"hooks.example.org", "10.0.0.7:443", false, false},
		{"hooks.example.org", "10.0.0.7:443", true, true},
		{"hooks.example.org", "[fd00::7]:443", false, false},
		{"hooks.example.org", "127.0.0.1:443", true, false},
		{"hooks.example.org", "[::ffff:127.0.0.1]:443", true, false},
		{"hooks.example.org", "169.254.169.254:80", true, false},
		{"hooks.example.org", "[fe80::1%eth0]:80", true, false},
		{"hooks.example.org", "0.0.0.0:80", true, false},
		{"localhost", "127.0.0.1:80", false, true},
		{"localhost", "10.0.0.1:80", false, false},
		{"169.254.169.254", "169.254.169.254:80", false, true},
		{"10.0.0.7", "10.0.0.7:80", false, true},
	} {
		if err := allowed(test.host, test.address, test.private); (err == nil) != test.want {
			t.Errorf("allowed(%s, %s, %v) = %v", test.host, test.address, test.private, err)
		}
	}
}

// TestNameOfThisMachine asks by a name that resolves to loopback.
func TestNameOfThisMachine(t *testing.T) {
	r := newReceiver(t, status(200))
	r.Start()
	port := netip.MustParseAddrPort(r.Listener.Addr().String()).Port()
	w := open(t, config{URL: fmt.Sprintf("http://hooks.example.org:%d", port), Insecure: true})
	// A resolver of our own, instead of a name in somebody's DNS.
	transport := w.client.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, r.Listener.Addr().String())
	}
	if result := execute(t, w, notify()); result.Outcome != sdk.OutcomeRefused || len(r.got()) > 0 {
		t.Errorf("result = %+v after %d requests", result, len(r.got()))
	}
}

func TestDryRunSendsNothing(t *testing.T) {
	var connected atomic.Bool
	r := newReceiver(t, status(200))
	r.Config.ConnState = func(net.Conn, http.ConnState) { connected.Store(true) }
	r.Start()
	for _, c := range []sdk.Call{notify(), run()} {
		c.DryRun = true
		result := execute(t, open(t, config{URL: r.URL + "/?key=x"}), c)
		if result.Outcome != sdk.OutcomeDone || !strings.HasPrefix(result.Message, "would post kelpie."+c.Verb) || strings.Contains(result.Message, "key=x") {
			t.Errorf("result = %+v", result)
		}
	}
	if connected.Load() {
		t.Error("somebody connected")
	}
}

func TestRefusedBeforeSending(t *testing.T) {
	w := open(t, config{URL: "http://127.0.0.1:1"})
	for name, parameters := range map[string]any{
		"nothing":   &notice{},
		"too large": &notice{Text: strings.Repeat("x", maxBody)},
		"no JSON":   &order{Name: "x", Data: func() {}},
		"no verb":   nil,
	} {
		c := notify()
		c.Parameters = parameters
		if result := execute(t, w, c); result.Outcome != sdk.OutcomeRefused {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		c    config
		path string
	}{
		"scheme":     {config{URL: "ftp://x", Secret: secret}, "url"},
		"clear text": {config{URL: "http://hooks.example.org", Secret: secret}, "url"},
		"user-info":  {config{URL: "https://kim:x@hooks.example.org", Secret: secret}, "url"},
		"fragment":   {config{URL: "https://hooks.example.org/#x", Secret: secret}, "url"},
		"no prefix":  {config{URL: "https://x", Secret: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}, "secret"},
		"no base64":  {config{URL: "https://x", Secret: "whsec_???"}, "secret"},
		"too short":  {config{URL: "https://x", Secret: "whsec_MDEy"}, "secret"},
		"previous":   {config{URL: "https://x", Secret: secret, PreviousSecret: "x"}, "previous_secret"},
		"injection":  {config{URL: "https://x", Secret: secret, Authorization: "a\r\nb: c"}, "authorization"},
		"header":     {config{URL: "https://x", Secret: secret, Headers: map[string]string{"webhook-id": "x"}}, "headers"},
		"header CR":  {config{URL: "https://x", Secret: secret, Headers: map[string]string{"X-A": "x\r\n"}}, "headers"},
	} {
		wrong := (&webhook{config: test.c}).Validate()
		if len(wrong) != 1 || wrong[0].Path[0] != test.path {
			t.Errorf("%s: Validate complains %v", name, wrong)
			continue
		}
		if text := wrong[0].Error(); strings.Contains(text, "MDEy") || strings.Contains(text, "???") {
			t.Errorf("%s: the complaint %q repeats the secret", name, text)
		}
	}
}

func TestOverGRPC(t *testing.T) {
	r := newReceiver(t, status(200))
	r.Start()
	client := sdktest.Serve(t, plugin())
	if wrong := client.Configure(t, "action.hook", sdk.KindAction, map[string]any{"url": r.URL}); len(wrong) != 1 || wrong[0].GetPath()[0] != "secret" {
		t.Errorf("Configure without a secret complains %v", wrong)
	}
	if wrong := client.Configure(t, "action.hook", sdk.KindAction, map[string]any{"url": r.URL, "secret": secret}); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	response, err := client.Act.Execute(t.Context(), &pluginv1.ExecuteRequest{
		Instance: "action.hook", Verb: "notify", Target: &pluginv1.Target{Kind: "address", Value: "soc@example.org"},
		Parameters: []byte(`{"notice": {"case": "c1"}}`), IdempotencyKey: "i-1", NotAfter: timestamppb.New(time.Now().Add(20 * time.Second)), Attempt: 1,
	})
	if err != nil || response.GetOutcome() != pluginv1.Outcome_OUTCOME_DONE || len(r.got()) != 1 {
		t.Errorf("Execute = %v, %v", response, err)
	}
}
