// Both ends of unary gRPC calls, as cheap as they can be: frames of HTTP/2 that were made before, so that what is measured
// is what stands between. The header blocks are those of an ordinary client: written out on a connection's first call, and
// references to the dynamic table (RFC 7541) from then on. Real peers are in the tests.
//
// Usage: grpc_peers -serve HOST:PORT answers every call with -answer bytes and status 0.
// grpc_peers -address HOST:PORT -bytes N -connections C -streams S -seconds T asks in a closed loop, S calls at a time on
// each connection, and prints one line of JSON.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"sync"
	"time"
)

const (
	data, headers, resetStream, settings, ping, goAway, windowUpdate = 0, 1, 3, 4, 6, 7, 8
	ack, endStream, endHeaders                                       = 1, 1, 4
	preface                                                          = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	largeWindow                                                      = 1 << 30
	// Streams that one connection may have in all; far above, their numbers would end.
	callsPerConnection = 1 << 29
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	made := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	made = binary.BigEndian.AppendUint32(made, stream)
	return append(made, payload...)
}

func number(value uint32) []byte { return binary.BigEndian.AppendUint32(nil, value) }

// What either side says first: a window for streams and one for the connection that no benchmark exhausts.
func greeting() []byte {
	initialWindow := append([]byte{0, 4}, number(largeWindow)...)
	return append(frame(settings, 0, 0, initialWindow), frame(windowUpdate, 0, 0, number(largeWindow))...)
}

// A field that shall stand in the dynamic table from now on, its name written out.
func added(name, value string) []byte {
	made := append([]byte{0x40, byte(len(name))}, name...)
	return append(append(made, byte(len(value))), value...)
}

// A ModelInferRequest of this many bytes, prefix and all: model name, version, an FP32 tensor and its raw contents.
func question(size int) []byte {
	return filled("\x0a\x04iris\x12\x013\x2a\x0b\x0a\x01x\x12\x04FP32\x1a\x00", 7, size-5)
}

// answerOf is a ModelInferResponse of this many bytes, prefix and all.
func answerOf(size int) []byte { return filled("\x0a\x04iris\x12\x013", 6, size-5) }

// A message that begins so, with one more field that fills it up to this size.
func filled(beginning string, field byte, size int) []byte {
	message := append([]byte(beginning), field<<3|2)
	rest := size - len(message) - 4 // a length that is written in so many bytes, whatever it is
	if rest < 1 || rest >= 1<<28 {
		log.Fatal("no message has this many bytes")
	}
	message = append(message, byte(rest)|0x80, byte(rest>>7)|0x80, byte(rest>>14)|0x80, byte(rest>>21))
	return prefixed(append(message, bytes.Repeat([]byte{0x3f}, rest)...))
}

func prefixed(message []byte) []byte {
	return append(append([]byte{0}, number(uint32(len(message)))...), message...)
}

type reader struct {
	from *bufio.Reader
	head [9]byte
}

// next reads one frame; the payload stands until the next is read.
func (r *reader) next(into *[]byte) (kind, flags byte, stream uint32, err error) {
	if _, err = io.ReadFull(r.from, r.head[:]); err != nil {
		return
	}
	size := int(r.head[0])<<16 | int(r.head[1])<<8 | int(r.head[2])
	if cap(*into) < size {
		*into = make([]byte, size)
	}
	*into = (*into)[:size]
	_, err = io.ReadFull(r.from, *into)
	return r.head[3], r.head[4], binary.BigEndian.Uint32(r.head[5:]) &^ (1 << 31), err
}

// answerTo says what both sides say to frames that are nobody's call.
func answerTo(kind, flags byte, payload []byte) []byte {
	switch {
	case kind == settings && flags&ack == 0:
		return frame(settings, ack, 0, nil)
	case kind == ping && flags&ack == 0:
		return frame(ping, ack, 0, payload)
	}
	return nil
}

// --- the server -------------------------------------------------------------------------------------------------------

func serve(address string, answerBytes int) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	body := answerOf(answerBytes)
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serveOne(connection, body)
	}
}

func serveOne(connection net.Conn, body []byte) {
	defer connection.Close()
	from := reader{from: bufio.NewReaderSize(connection, 1<<16)}
	if _, err := io.CopyN(io.Discard, from.from, int64(len(preface))); err != nil {
		return
	}
	out := greeting()
	first, hasTable, owed := true, true, 0
	var payload []byte
	for {
		if from.from.Buffered() == 0 && len(out) > 0 {
			if _, err := connection.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		kind, flags, stream, err := from.next(&payload)
		if err != nil {
			return
		}
		out = append(out, answerTo(kind, flags, payload)...)
		if kind == settings && flags&ack == 0 {
			hasTable = hasTable && !forbidsTable(payload)
		}
		if kind != data {
			continue
		}
		if owed += len(payload); owed > largeWindow/2 {
			out, owed = append(out, frame(windowUpdate, 0, 0, number(uint32(owed)))...), 0
		}
		if flags&endStream == 0 {
			continue
		}
		out = append(out, answer(stream, body, first || !hasTable, hasTable)...)
		first = false
	}
}

// forbidsTable tells whether these settings say that nothing may be added to the dynamic table, as nginx's do.
func forbidsTable(payload []byte) bool {
	for ; len(payload) >= 6; payload = payload[6:] {
		if binary.BigEndian.Uint16(payload) == 1 && binary.BigEndian.Uint32(payload[2:]) == 0 {
			return true
		}
	}
	return false
}

func answer(stream uint32, body []byte, isWritten, isAdded bool) []byte {
	opening, trailers := []byte{0x88, 0xbf}, []byte{0xbe}
	if isWritten {
		opening, trailers = append([]byte{0x88}, added("content-type", "application/grpc")...), added("grpc-status", "0")
	}
	if !isAdded {
		opening[1], trailers[0] = 0, 0 // written out, and not added
	}
	made := frame(headers, endHeaders, stream, opening)
	made = append(made, frame(data, 0, stream, body)...)
	return append(made, frame(headers, endHeaders|endStream, stream, trailers)...)
}

// --- the client -------------------------------------------------------------------------------------------------------

func asked(stream uint32, authority string, body []byte, first bool) []byte {
	// 83: POST, 86: http; the others stand in the order in which they were added, the newest at 62.
	block := []byte{0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe}
	if first {
		block = []byte{0x83, 0x86}
		block = append(block, added(":path", "/inference.GRPCInferenceService/ModelInfer")...)
		block = append(block, added(":authority", authority)...)
		block = append(block, added("te", "trailers")...)
		block = append(block, added("content-type", "application/grpc")...)
		block = append(block, added("user-agent", "grpc-peers/1")...)
	}
	return append(frame(headers, endHeaders, stream, block), frame(data, endStream, stream, body)...)
}

type outcome struct {
	latencies []time.Duration
	err       error
}

func ask(address string, body []byte, answerBytes, streams int, until time.Time) (found outcome) {
	connection, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return outcome{err: err}
	}
	defer connection.Close()
	_ = connection.SetDeadline(until.Add(20 * time.Second))
	from := reader{from: bufio.NewReaderSize(connection, 1<<16)}
	out := append([]byte(preface), greeting()...)
	begun := map[uint32]time.Time{}
	got := map[uint32]int{}
	next, owed := uint32(1), 0
	begin := func() {
		out = append(out, asked(next, address, body, next == 1)...)
		begun[next] = time.Now()
		next += 2
	}
	for range streams {
		begin()
	}
	var payload []byte
	for len(begun) > 0 {
		if from.from.Buffered() == 0 && len(out) > 0 {
			if _, err := connection.Write(out); err != nil {
				return outcome{err: err}
			}
			out = out[:0]
		}
		kind, flags, stream, err := from.next(&payload)
		if err != nil {
			return outcome{err: err}
		}
		out = append(out, answerTo(kind, flags, payload)...)
		if kind == resetStream || kind == goAway {
			return outcome{err: fmt.Errorf("frame of type %d", kind)}
		}
		if kind == data {
			got[stream] += len(payload)
			if owed += len(payload); owed > largeWindow/2 {
				out, owed = append(out, frame(windowUpdate, 0, 0, number(uint32(owed)))...), 0
			}
		}
		if flags&endStream == 0 || kind != data && kind != headers {
			continue
		}
		if got[stream] != answerBytes {
			return outcome{err: fmt.Errorf("an answer of %d bytes", got[stream])}
		}
		now := time.Now()
		found.latencies = append(found.latencies, now.Sub(begun[stream]))
		delete(begun, stream)
		delete(got, stream)
		if now.Before(until) && next < callsPerConnection {
			begin()
		}
	}
	return found
}

func load(address string, body []byte, answerBytes, connections, streams int, seconds float64) {
	start := time.Now()
	until := start.Add(time.Duration(seconds * float64(time.Second)))
	outcomes := make([]outcome, connections)
	var all sync.WaitGroup
	for number := range outcomes {
		all.Go(func() { outcomes[number] = ask(address, body, answerBytes, streams, until) })
	}
	all.Wait()
	var latencies []time.Duration
	for _, one := range outcomes {
		if one.err != nil {
			log.Fatal(one.err)
		}
		latencies = append(latencies, one.latencies...)
	}
	sort.Slice(latencies, func(a, b int) bool { return latencies[a] < latencies[b] })
	at := func(share float64) float64 {
		return float64(latencies[int(share*float64(len(latencies)-1))].Nanoseconds()) / 1e3
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"requests":       float64(len(latencies)),
		"requests_per_s": float64(len(latencies)) / time.Since(start).Seconds(),
		"p50_us":         at(0.5),
		"p99_us":         at(0.99),
	})
}

func main() {
	served := flag.String("serve", "", "where to answer")
	address := flag.String("address", "", "whom to ask")
	size := flag.Int("bytes", 1024, "of a question, with its prefix")
	answerSize := flag.Int("answer", 200, "of an answer, with its prefix")
	connections := flag.Int("connections", 16, "")
	streams := flag.Int("streams", 1, "calls at a time on each connection")
	seconds := flag.Float64("seconds", 2, "")
	flag.Parse()
	if *served != "" {
		serve(*served, *answerSize)
	}
	load(*address, question(*size), *answerSize, *connections, *streams, *seconds)
}
