// Knative's channel based broker without a Kubernetes: its ingress, the fan-out of its channel and its filter, as
// Knative's own processes have them, one after the other on one port.
//
// Arguments: the port, and the URL of the subscriber of the only trigger ("all" of the broker "default" in "shop"). What
// Knative reads from Kubernetes is put into the listers by hand. The broker takes events at /shop/default.
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"go.opentelemetry.io/otel"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/eventing/pkg/apis/eventing"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/auth"
	"knative.dev/eventing/pkg/broker"
	"knative.dev/eventing/pkg/broker/filter"
	"knative.dev/eventing/pkg/broker/ingress"
	"knative.dev/eventing/pkg/channel"
	"knative.dev/eventing/pkg/channel/fanout"
	"knative.dev/eventing/pkg/client/informers/externalversions"
	"knative.dev/eventing/pkg/eventingtls"
	"knative.dev/eventing/pkg/kncloudevents"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

const timeToLive = 255 // as Knative's ingress has it

func main() {
	address := "127.0.0.1:" + os.Args[1]
	subscriber, err := apis.ParseURL(os.Args[2])
	must(err)
	logger, err := zap.NewProduction()
	must(err)
	informers := externalversions.NewSharedInformerFactory(nil, 0)
	brokers, triggers := informers.Eventing().V1().Brokers(), informers.Eventing().V1().Triggers()
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "1"} }

	place, err := apis.ParseURL("http://" + address + "/shop/default")
	must(err)
	one := &eventingv1.Broker{ObjectMeta: named("default")}
	one.Status.Address = &duckv1.Addressable{URL: place}
	one.Status.Annotations = map[string]string{
		eventing.BrokerChannelAddressStatusAnnotationKey: "http://" + address + "/channel/shop/default-kne-trigger",
	}
	must(brokers.Informer().GetIndexer().Add(one))
	trigger := &eventingv1.Trigger{ObjectMeta: named("all"), Spec: eventingv1.TriggerSpec{Broker: "default"}}
	trigger.Status.SubscriberURI = subscriber
	must(triggers.Informer().GetIndexer().Add(trigger))

	bundles := corev1listers.NewConfigMapLister(cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})).ConfigMaps("shop")
	nobody, plain := &auth.Verifier{}, func(ctx context.Context) context.Context { return ctx }
	meters, tracers := otel.GetMeterProvider(), otel.GetTracerProvider()
	taking, err := ingress.NewHandler(
		logger, broker.TTLDefaulter(logger, timeToLive), brokers, nobody, nil, bundles, plain, meters, tracers)
	must(err)
	filtering, err := filter.NewHandler(
		logger, nobody, nil, triggers, brokers, informers.Messaging().V1().Subscriptions(), bundles, plain, meters, tracers)
	must(err)
	target, err := apis.ParseURL("http://" + address + "/triggers/shop/all/1")
	must(err)
	spreading, err := fanout.NewFanoutEventHandler(
		logger,
		fanout.Config{Subscriptions: []fanout.Subscription{{Subscriber: duckv1.Addressable{URL: target}}}},
		nil, nil, nil,
		kncloudevents.NewDispatcher(eventingtls.ClientConfig{TrustBundleConfigMapLister: bundles}, nil),
		meters, tracers,
		channel.ResolveChannelFromPath(channel.ParseChannelFromPath))
	must(err)
	mux := http.NewServeMux()
	mux.Handle("/", taking)
	mux.Handle("/channel/", http.StripPrefix("/channel", spreading))
	mux.Handle("/triggers/", filtering)
	must(http.ListenAndServe(address, mux))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
