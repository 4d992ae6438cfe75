package main

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// pageSize is how many alerts are in a page.
const pageSize = 2

// alert is what the service saw.
type alert struct {
	ID       string    `json:"id"`
	Seen     time.Time `json:"seen"`
	Title    string    `json:"title"`
	Risk     string    `json:"risk"` // low, medium, high
	Attacker string    `json:"attacker"`
	Machine  string    `json:"machine"`
}

// reputation is what the service knows about an address.
type reputation struct {
	IP       string `json:"ip"`
	Score    int    `json:"score"`    // 0, harmless, to 100
	Category string `json:"category"` // such as scanner
	Reports  int    `json:"reports"`
}

// block is an address that the firewall drops.
type block struct {
	ID  string `json:"id"`
	IP  string `json:"ip"`
	Key string `json:"key"` // the Idempotency-Key that it was made with
}

// service is the API. It is safe for concurrent use.
type service struct {
	mux   *http.ServeMux
	key   string
	quota int
	now   func() time.Time

	mu     sync.Mutex
	minute time.Time // of which used counts
	used   int
	blocks []block
	made   int // blocks that were ever made
}

func newService(key string, quota int, now func() time.Time) *service {
	s := &service{mux: http.NewServeMux(), key: key, quota: quota, now: now}
	s.mux.HandleFunc("GET /v1/alerts", s.alerts)
	s.mux.HandleFunc("GET /v1/reputation", s.reputation)
	s.mux.HandleFunc("GET /v1/blocks", s.listBlocks)
	s.mux.HandleFunc("POST /v1/blocks", s.addBlock)
	s.mux.HandleFunc("DELETE /v1/blocks/{id}", s.removeBlock)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-API-Key")), []byte(s.key)) != 1 {
		refuse(w, http.StatusUnauthorized, "the key in X-API-Key is not one of ours")
		return
	}
	if wait := s.spend(); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		refuse(w, http.StatusTooManyRequests, "the quota of this minute is used up")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// spend takes one request from the quota, or says how long there is none.
func (s *service) spend() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if minute := now.Truncate(time.Minute); minute != s.minute {
		s.minute, s.used = minute, 0
	}
	if s.used >= s.quota {
		return s.minute.Add(time.Minute).Sub(now)
	}
	s.used++
	return 0
}

// alerts answers a page of the alerts that came after the one whose id is since; pages count
// from one.
func (s *service) alerts(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	all := seen()
	if since := query.Get("since"); since != "" {
		i := slices.IndexFunc(all, func(a alert) bool { return a.ID == since })
		if i < 0 {
			refuse(w, http.StatusBadRequest, "since is not the id of an alert")
			return
		}
		all = all[i+1:]
	}
	page, err := strconv.Atoi(cmp.Or(query.Get("page"), "1"))
	if err != nil || page < 1 {
		refuse(w, http.StatusBadRequest, "page is a number, from 1")
		return
	}
	pages := slices.Collect(slices.Chunk(all, pageSize))
	items := []alert{}
	if page <= len(pages) {
		items = pages[page-1]
	}
	answer(w, http.StatusOK, map[string]any{"alerts": items, "page": page, "pages": len(pages)})
}

func (s *service) reputation(w http.ResponseWriter, r *http.Request) {
	ip, err := netip.ParseAddr(r.URL.Query().Get("ip"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "ip is not an address")
		return
	}
	for _, known := range reputations() {
		if known.IP == ip.String() {
			answer(w, http.StatusOK, known)
			return
		}
	}
	refuse(w, http.StatusNotFound, "nobody has reported this address")
}

func (s *service) listBlocks(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"blocks": append([]block{}, s.blocks...)})
}

// addBlock blocks an address. With an Idempotency-Key that made a block before it answers 200
// and that block, otherwise 201.
func (s *service) addBlock(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		IP netip.Addr `json:"ip"`
	}
	body := http.MaxBytesReader(w, r.Body, 4096)
	if err := json.NewDecoder(body).Decode(&asked); err != nil || !asked.IP.IsValid() {
		refuse(w, http.StatusBadRequest, `the body is {"ip": ADDRESS}`)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.blocks, func(b block) bool { return key != "" && b.Key == key }); i >= 0 {
		answer(w, http.StatusOK, s.blocks[i])
		return
	}
	s.made++
	made := block{ID: "b-" + strconv.Itoa(s.made), IP: asked.IP.String(), Key: key}
	s.blocks = append(s.blocks, made)
	answer(w, http.StatusCreated, made)
}

func (s *service) removeBlock(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.blocks, func(b block) bool { return b.ID == r.PathValue("id") })
	if i < 0 {
		refuse(w, http.StatusNotFound, "there is no such block")
		return
	}
	s.blocks = slices.Delete(s.blocks, i, i+1)
	w.WriteHeader(http.StatusNoContent)
}

func answer(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(value)
}

func refuse(w http.ResponseWriter, code int, why string) {
	answer(w, code, map[string]string{"error": why})
}
