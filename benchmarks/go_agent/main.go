// A reverse proxy that logs payloads the way KServe's agent does, written from its description for comparison:
// the request body is read whole before it is passed on, the answer is kept in a buffer while it is passed back, and each
// half becomes a CloudEvent in HTTP binary mode, posted by one of five workers behind a queue of a hundred, with a new
// client for every event. Where all workers are busy, a goroutine per event waits for one, however many that makes.
//
// Usage: go_agent -listen HOST:PORT -upstream URL -sink URL
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

const (
	queueLength  = 100
	workers      = 5
	typeRequest  = "org.kubeflow.serving.inference.request"
	typeResponse = "org.kubeflow.serving.inference.response"
)

// event is one half of an inference on its way to the sink.
type event struct {
	id          string
	kind        string
	contentType string
	at          time.Time
	body        []byte
}

// logger hands events to workers.
type logger struct {
	sink  *url.URL
	queue chan event
	idle  chan chan event
}

func newLogger(sink *url.URL) *logger {
	made := &logger{sink: sink, queue: make(chan event, queueLength), idle: make(chan chan event, workers)}
	for number := 0; number < workers; number++ {
		go made.work(make(chan event))
	}
	go made.dispatch()
	return made
}

// dispatch never waits for a worker itself: what cannot be taken at once waits in a goroutine of its own.
func (l *logger) dispatch() {
	for next := range l.queue {
		go func(taken event) { <-l.idle <- taken }(next)
	}
}

func (l *logger) work(mine chan event) {
	for {
		l.idle <- mine
		l.send(<-mine)
	}
}

func (l *logger) send(e event) {
	request, err := http.NewRequest(http.MethodPost, l.sink.String(), bytes.NewReader(e.body))
	if err != nil {
		return
	}
	request.Header.Set("Content-Type", e.contentType)
	request.Header.Set("ce-specversion", "1.0")
	request.Header.Set("ce-id", e.id)
	request.Header.Set("ce-type", e.kind)
	request.Header.Set("ce-source", "http://127.0.0.1:9081/")
	request.Header.Set("ce-time", e.at.UTC().Format(time.RFC3339Nano))
	request.Header.Set("ce-inferenceservicename", "iris")
	request.Header.Set("ce-namespace", "default")
	request.Header.Set("ce-component", "predictor")
	client := &http.Client{Transport: &http.Transport{}}
	answer, err := client.Do(request)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	client.CloseIdleConnections()
}

// tee passes an answer on and keeps a copy of it.
type tee struct {
	http.ResponseWriter
	status int
	kept   bytes.Buffer
}

func (t *tee) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tee) Write(piece []byte) (int, error) {
	t.kept.Write(piece)
	return t.ResponseWriter.Write(piece)
}

func (t *tee) Flush() {
	if flusher, ok := t.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

func newID() string {
	var random [16]byte
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9081", "where clients connect")
	upstream := flag.String("upstream", "http://127.0.0.1:8080", "the model server")
	sink := flag.String("sink", "http://127.0.0.1:8090", "where events are posted")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatal(err)
	}
	events, err := url.Parse(*sink)
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	// The default keeps two idle connections per host, which would cost sixteen clients a connection per request.
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	// A client that leaves is no news to a benchmark.
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	logging := newLogger(events)
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "cannot read the request", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		id, contentType := newID(), r.Header.Get("Content-Type")
		logging.queue <- event{id, typeRequest, contentType, time.Now(), body}
		answer := &tee{ResponseWriter: w, status: http.StatusOK}
		proxy.ServeHTTP(answer, r)
		if answer.status == http.StatusOK {
			logging.queue <- event{id, typeResponse, contentType, time.Now(), answer.kept.Bytes()}
		}
	}
	log.Fatal(http.ListenAndServe(*listen, http.HandlerFunc(handler)))
}
