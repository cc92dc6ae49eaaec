// Sends events with version 1 of the CloudEvents SDK for Go, with the calls that Seldon Core 1's executor makes of it.
//
// On standard input comes one event a line: {"id", "type", "source", "extensions", "contenttype", "data"}; data is base64.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"log"
	"os"

	cloudevents "github.com/cloudevents/sdk-go"
)

type line struct {
	ID          string            `json:"id"`
	Type        string            `json:"type"`
	Source      string            `json:"source"`
	Extensions  map[string]string `json:"extensions"`
	ContentType string            `json:"contenttype"`
	Data        []byte            `json:"data"`
}

func main() {
	transport, err := cloudevents.NewHTTPTransport(
		cloudevents.WithTarget(os.Args[1]), cloudevents.WithEncoding(cloudevents.HTTPBinaryV1))
	if err != nil {
		log.Fatal(err)
	}
	client, err := cloudevents.NewClient(transport, cloudevents.WithTimeNow())
	if err != nil {
		log.Fatal(err)
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var told line
		if err := json.Unmarshal(input.Bytes(), &told); err != nil {
			log.Fatal(err)
		}
		event := cloudevents.NewEvent(cloudevents.VersionV1)
		event.SetID(told.ID)
		event.SetType(told.Type)
		for name, value := range told.Extensions {
			event.SetExtension(name, value)
		}
		event.SetSource(told.Source)
		event.SetDataContentType(told.ContentType)
		if err := event.SetData(told.Data); err != nil {
			log.Fatal(err)
		}
		ctx := cloudevents.ContextWithEncoding(context.Background(), cloudevents.Binary)
		if _, _, err := client.Send(ctx, event); err != nil {
			log.Fatal(err)
		}
	}
}
