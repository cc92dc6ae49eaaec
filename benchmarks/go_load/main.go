// Requests at a fixed rate, whatever the answers do. Request number i is due at start + i/rate; its latency is counted
// from then, not from when it could be sent, so that a stall meets all requests that were due in it (no coordinated
// omission). A request goes out on whichever connection is free; where none is, it waits, and that counts.
//
// Usage: go_load -address HOST:PORT -path PATH -body FILE -rate N -seconds S -connections N. Prints one line of JSON.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

type result struct {
	Requests int     `json:"requests"`
	Sent     int     `json:"sent"` // with those that warmed up
	Failed   int     `json:"failed"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_us"`
	P90      float64 `json:"p90_us"`
	P99      float64 `json:"p99_us"`
	Max      float64 `json:"max_us"`
}

// connection sends the same request again and again.
type connection struct {
	address string
	raw     net.Conn
	reader  *bufio.Reader
}

func (c *connection) ask(request []byte) bool {
	if c.raw == nil {
		raw, err := net.DialTimeout("tcp", c.address, 5*time.Second)
		if err != nil {
			return false
		}
		c.raw, c.reader = raw, bufio.NewReaderSize(raw, 65536)
	}
	_ = c.raw.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.raw.Write(request); err == nil && c.readAnswer() {
		return true
	}
	_ = c.raw.Close()
	c.raw = nil
	return false
}

func (c *connection) readAnswer() bool {
	first, err := c.reader.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(first, []byte("HTTP/1.1 200")) {
		return false
	}
	length := -1
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return false
		}
		if len(line) <= 2 {
			break
		}
		if len(line) > 15 && bytes.EqualFold(line[:15], []byte("content-length:")) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:])))
			if err != nil {
				return false
			}
		}
	}
	if length < 0 {
		return false
	}
	_, err = io.CopyN(io.Discard, c.reader, int64(length))
	return err == nil
}

func run(address string, request []byte, rate float64, seconds float64, connections int) result {
	count := int(rate * seconds)
	latencies := make([]time.Duration, count)
	failed := make([]bool, count)
	due := make(chan int, count) // holds them all: the schedule never waits for anybody
	start := time.Now().Add(20 * time.Millisecond)
	at := func(number int) time.Time {
		return start.Add(time.Duration(float64(number) / rate * float64(time.Second)))
	}
	var workers sync.WaitGroup
	for number := 0; number < connections; number++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			mine := &connection{address: address}
			for number := range due {
				failed[number] = !mine.ask(request)
				latencies[number] = time.Since(at(number))
			}
			if mine.raw != nil {
				_ = mine.raw.Close()
			}
		}()
	}
	for number := 0; number < count; number++ {
		time.Sleep(time.Until(at(number)))
		due <- number
	}
	close(due)
	workers.Wait()
	return summary(latencies, failed, time.Since(start).Seconds())
}

func summary(latencies []time.Duration, failed []bool, seconds float64) result {
	sort.Slice(latencies, func(a, b int) bool { return latencies[a] < latencies[b] })
	share := func(of float64) float64 {
		return float64(latencies[min(len(latencies)-1, int(of*float64(len(latencies))))].Nanoseconds()) / 1e3
	}
	found := result{Requests: len(latencies), Seconds: seconds, P50: share(0.5), P90: share(0.9), P99: share(0.99)}
	found.Max = float64(latencies[len(latencies)-1].Nanoseconds()) / 1e3
	for _, one := range failed {
		if one {
			found.Failed++
		}
	}
	return found
}

func main() {
	address := flag.String("address", "127.0.0.1:9000", "whom to ask")
	path := flag.String("path", "/v2/models/iris/infer", "the path of every request")
	body := flag.String("body", "", "file with the body of every request")
	rate := flag.Float64("rate", 1000, "requests per second")
	seconds := flag.Float64("seconds", 2, "how long")
	connections := flag.Int("connections", 64, "at most so many at once")
	flag.Parse()
	content, err := os.ReadFile(*body)
	if err != nil {
		log.Fatal(err)
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n", *path, *address, len(content))
	request := append([]byte(head), content...)
	warming := run(*address, request, min(*rate, 200), 0.3, *connections)
	found := run(*address, request, *rate, *seconds, *connections)
	found.Sent = found.Requests + warming.Requests
	_ = json.NewEncoder(os.Stdout).Encode(found)
}
