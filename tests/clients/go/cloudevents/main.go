// Sends events with the CloudEvents SDK for Go, which KServe's agent and Knative's sources and brokers send with.
//
// On standard input comes one event a line: {"mode", "id", "type", "source", "time", "extensions", "contenttype",
// "data"}; data is base64. Mode is binary, structured or batch; the events of all batch lines make one batch. On standard
// output goes what each was answered with.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

type line struct {
	Mode        string            `json:"mode"`
	ID          string            `json:"id"`
	Type        string            `json:"type"`
	Source      string            `json:"source"`
	Time        time.Time         `json:"time"`
	Extensions  map[string]string `json:"extensions"`
	ContentType string            `json:"contenttype"`
	Data        []byte            `json:"data"`
}

func main() {
	url := os.Args[1]
	client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(url))
	if err != nil {
		log.Fatal(err)
	}
	var batch []cloudevents.Event
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var told line
		if err := json.Unmarshal(input.Bytes(), &told); err != nil {
			log.Fatal(err)
		}
		event := made(told)
		ctx := context.Background()
		switch told.Mode {
		case "batch":
			batch = append(batch, event)
			continue
		case "structured":
			ctx = cloudevents.WithEncodingStructured(ctx)
		default:
			ctx = cloudevents.WithEncodingBinary(ctx)
		}
		fmt.Println(client.Send(ctx, event))
	}
	if len(batch) > 0 {
		request, err := cehttp.NewHTTPRequestFromEvents(context.Background(), url, batch)
		if err != nil {
			log.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		fmt.Printf("%d:\n", answer.StatusCode)
	}
}

func made(told line) cloudevents.Event {
	event := cloudevents.NewEvent()
	event.SetID(told.ID)
	event.SetType(told.Type)
	event.SetSource(told.Source)
	event.SetTime(told.Time)
	for name, value := range told.Extensions {
		event.SetExtension(name, value)
	}
	if err := event.SetData(told.ContentType, told.Data); err != nil {
		log.Fatal(err)
	}
	return event
}
