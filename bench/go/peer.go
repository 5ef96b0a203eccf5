package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// count is one Deployment as the API shows it.
type count struct {
	Namespace    string `json:"namespace"`
	Name         string `json:"name"`
	ReplicaCount int32  `json:"replicaCount"`
}

type failure struct {
	Error string `json:"error"`
}

type message struct {
	Message string `json:"message"`
}

type health struct {
	Status     string `json:"status"`
	Kubernetes string `json:"kubernetes,omitempty"`
	Error      string `json:"error,omitempty"`
}

// server answers the four calls from an informer's cache.
type server struct {
	client      kubernetes.Interface
	deployments appslisters.DeploymentLister
	synced      cache.InformerSynced
}

// peer serves the four calls as a Go program would that uses client-go and the standard library as they are meant to be used.
func peer(arguments []string) error {
	flags := flag.NewFlagSet("peer", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the cluster")
	listen := flags.String("listen", "127.0.0.1:0", "address")
	certificate := flags.String("tls-cert", "", "the server's certificate")
	key := flags.String("tls-key", "", "its key")
	clientCA := flags.String("client-ca", "", "CA of the clients that are let in")
	_ = flags.Parse(arguments)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))

	pool, err := certificates(*clientCA)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		return err
	}
	client, err := clusterClient(*kubeconfig)
	if err != nil {
		return err
	}

	started := time.Now()
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	deployments := factory.Apps().V1().Deployments()
	s := &server{client: client, deployments: deployments.Lister(), synced: deployments.Informer().HasSynced}
	factory.Start(ctx.Done())

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	log.Info("listening at " + listener.Addr().String())
	go func() {
		factory.WaitForCacheSync(ctx.Done())
		if s.synced() {
			log.Info("synced", "seconds", time.Since(started).Seconds())
		}
	}()

	serving := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       75 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{pair},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    pool,
			// As headcount does: every handshake is a full one.
			SessionTicketsDisabled: true,
		},
	}
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = serving.Shutdown(last)
	}()
	if err := serving.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// clusterClient speaks protobuf and doesn't limit itself.
func clusterClient(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clusterConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

func clusterConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.QPS, config.Burst = -1, -1
	return config, nil
}

// slim drops what the API never shows before an object enters the cache.
func slim(object any) (any, error) {
	deployment, ok := object.(*appsv1.Deployment)
	if !ok {
		return object, nil
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       deployment.Namespace,
			Name:            deployment.Name,
			UID:             deployment.UID,
			ResourceVersion: deployment.ResourceVersion,
		},
		Spec: appsv1.DeploymentSpec{Replicas: deployment.Spec.Replicas},
	}, nil
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/deployments/{name}/replicas", s.read)
	mux.HandleFunc("PUT /api/v1/namespaces/{namespace}/deployments/{name}/replicas", s.set)
	mux.HandleFunc("GET /api/v1/deployments", s.list)
	mux.HandleFunc("GET /api/v1/health", s.health)
	return mux
}

func (s *server) read(w http.ResponseWriter, r *http.Request) {
	deployment, err := s.deployments.Deployments(r.PathValue("namespace")).Get(r.PathValue("name"))
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, countOf(deployment))
}

func (s *server) list(w http.ResponseWriter, _ *http.Request) {
	deployments, err := s.deployments.List(labels.Everything())
	if err != nil {
		refuse(w, err)
		return
	}
	counts := make([]count, len(deployments))
	for i, deployment := range deployments {
		counts[i] = countOf(deployment)
	}
	answer(w, http.StatusOK, counts)
}

func (s *server) set(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ReplicaCount *int32 `json:"replicaCount"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		answer(w, http.StatusBadRequest, failure{err.Error()})
		return
	}
	if body.ReplicaCount == nil || *body.ReplicaCount < 0 {
		answer(w, http.StatusBadRequest, failure{"replicaCount must be a number from 0"})
		return
	}
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	scale := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       autoscalingv1.ScaleSpec{Replicas: *body.ReplicaCount},
	}
	_, err := s.client.AppsV1().Deployments(namespace).UpdateScale(r.Context(), name, scale, metav1.UpdateOptions{})
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, message{"Replica count updated successfully."})
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	if !s.synced() {
		answer(w, http.StatusServiceUnavailable, health{Status: "unhealthy", Error: "the cache has not synced yet"})
		return
	}
	answer(w, http.StatusOK, health{Status: "healthy", Kubernetes: "connected"})
}

// countOf takes an absent count for 1, as Kubernetes does.
func countOf(deployment *appsv1.Deployment) count {
	replicas := int32(1)
	if deployment.Spec.Replicas != nil {
		replicas = *deployment.Spec.Replicas
	}
	return count{Namespace: deployment.Namespace, Name: deployment.Name, ReplicaCount: replicas}
}

func refuse(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	var said apierrors.APIStatus
	if errors.As(err, &said) && said.Status().Code != 0 {
		status = int(said.Status().Code)
	}
	answer(w, status, failure{err.Error()})
}

func answer(w http.ResponseWriter, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		http.Error(w, fmt.Sprintf("{%q:%q}", "error", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encoded)
}

func certificates(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return pool, nil
}
