package deploy_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests are what an overlay builds.
type manifests struct {
	overlay     string
	Deployments []*apps.Deployment
	Jobs        []*batch.Job
	Services    []*core.Service
	ConfigMaps  []*core.ConfigMap
	Secrets     []*core.Secret
	Namespaces  []*core.Namespace
	Budgets     []*policy.PodDisruptionBudget
	Policies    []*networking.NetworkPolicy
	Ingresses   []*networking.Ingress
	Monitors    []*monitoring.ServiceMonitor
	Rules       []*monitoring.PrometheusRule
	Postgres    []*postgresCluster
	RabbitMQ    []*rabbitmqCluster
	Scaled      []*scaledObject
	Logins      []*triggerAuthentication
}

// The operators' own modules are heavy, or not to be had: these are the fields of their
// resources that we use, as the operators document them.
type (
	postgresCluster struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			Instances int32  `json:"instances"`
			ImageName string `json:"imageName"`
			Bootstrap struct {
				InitDB struct {
					Database      string                     `json:"database"`
					Owner         string                     `json:"owner"`
					DataChecksums bool                       `json:"dataChecksums"`
					Secret        *core.LocalObjectReference `json:"secret"`
				} `json:"initdb"`
			} `json:"bootstrap"`
			Managed struct {
				Roles []struct {
					Name           string                    `json:"name"`
					Ensure         string                    `json:"ensure"` // present or absent
					Login          bool                      `json:"login"`
					PasswordSecret core.LocalObjectReference `json:"passwordSecret"`
				} `json:"roles"`
			} `json:"managed"`
			PostgreSQL struct {
				Parameters  map[string]string `json:"parameters"`
				Synchronous *struct {
					Method         string `json:"method"` // any or first
					Number         int32  `json:"number"`
					DataDurability string `json:"dataDurability"` // required or preferred
				} `json:"synchronous"`
			} `json:"postgresql"`
			Storage struct {
				Size         string  `json:"size"`
				StorageClass *string `json:"storageClass"`
			} `json:"storage"`
			Resources core.ResourceRequirements `json:"resources"`
			Affinity  struct {
				EnablePodAntiAffinity *bool  `json:"enablePodAntiAffinity"`
				PodAntiAffinityType   string `json:"podAntiAffinityType"` // preferred or required
				TopologyKey           string `json:"topologyKey"`
			} `json:"affinity"`
			Monitoring struct {
				EnablePodMonitor bool `json:"enablePodMonitor"`
			} `json:"monitoring"`
		} `json:"spec"`
	}

	rabbitmqCluster struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			Replicas    int32                     `json:"replicas"`
			Image       string                    `json:"image"`
			Resources   core.ResourceRequirements `json:"resources"`
			Affinity    core.Affinity             `json:"affinity"`
			Persistence struct {
				StorageClassName *string           `json:"storageClassName"`
				Storage          resource.Quantity `json:"storage"`
			} `json:"persistence"`
			RabbitMQ struct {
				AdditionalConfig string `json:"additionalConfig"` // 2000 bytes at most
			} `json:"rabbitmq"`
		} `json:"spec"`
	}

	scaledObject struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			ScaleTargetRef struct {
				Name string `json:"name"`
			} `json:"scaleTargetRef"`
			MinReplicaCount int32 `json:"minReplicaCount"`
			MaxReplicaCount int32 `json:"maxReplicaCount"`
			Fallback        struct {
				FailureThreshold int32 `json:"failureThreshold"`
				Replicas         int32 `json:"replicas"`
			} `json:"fallback"`
			Triggers []struct {
				Type              string                    `json:"type"`
				Metadata          rabbitmqTrigger           `json:"metadata"`
				AuthenticationRef core.LocalObjectReference `json:"authenticationRef"`
			} `json:"triggers"`
		} `json:"spec"`
	}

	rabbitmqTrigger struct {
		Protocol  string `json:"protocol"` // amqp, http or auto
		QueueName string `json:"queueName"`
		Mode      string `json:"mode"` // QueueLength, …
		Value     string `json:"value"`
	}

	triggerAuthentication struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			SecretTargetRef []struct {
				Parameter string `json:"parameter"`
				Name      string `json:"name"`
				Key       string `json:"key"`
			} `json:"secretTargetRef"`
		} `json:"spec"`
	}
)

// builds are what the overlays build: once, since no test changes it.
var builds = map[string]func() (*manifests, error){
	"development": sync.OnceValues(func() (*manifests, error) { return read("development") }),
	"production":  sync.OnceValues(func() (*manifests, error) { return read("production") }),
}

func build(t *testing.T, overlay string) *manifests {
	t.Helper()
	m, err := builds[overlay]()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// building is held by who builds: kustomize keeps its schema in variables of the package.
var building sync.Mutex

// read builds an overlay, and reads what comes out strictly: a field that its kind does not
// have is an error.
func read(overlay string) (*manifests, error) {
	building.Lock()
	defer building.Unlock()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "k8s/overlays/"+overlay)
	if err != nil {
		return nil, err
	}
	m := &manifests{overlay: overlay}
	var errs []error
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err == nil {
			err = m.add(r.GetApiVersion()+" "+r.GetKind(), text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s %s: %w", overlay, r.GetKind(), r.GetName(), err))
		}
	}
	return m, errors.Join(errs...)
}

type unknownKindError string

func (e unknownKindError) Error() string { return "nobody checks resources of " + string(e) }

// add reads one resource.
func (m *manifests) add(kind string, text []byte) error {
	switch kind {
	case "apps/v1 Deployment":
		return strictly(text, &m.Deployments)
	case "batch/v1 Job":
		return strictly(text, &m.Jobs)
	case "v1 Service":
		return strictly(text, &m.Services)
	case "v1 ConfigMap":
		return strictly(text, &m.ConfigMaps)
	case "v1 Secret":
		return strictly(text, &m.Secrets)
	case "v1 Namespace":
		return strictly(text, &m.Namespaces)
	case "policy/v1 PodDisruptionBudget":
		return strictly(text, &m.Budgets)
	case "networking.k8s.io/v1 NetworkPolicy":
		return strictly(text, &m.Policies)
	case "networking.k8s.io/v1 Ingress":
		return strictly(text, &m.Ingresses)
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return strictly(text, &m.Monitors)
	case "monitoring.coreos.com/v1 PrometheusRule":
		return strictly(text, &m.Rules)
	case "postgresql.cnpg.io/v1 Cluster":
		return strictly(text, &m.Postgres)
	case "rabbitmq.com/v1beta1 RabbitmqCluster":
		return strictly(text, &m.RabbitMQ)
	case "keda.sh/v1alpha1 ScaledObject":
		return strictly(text, &m.Scaled)
	case "keda.sh/v1alpha1 TriggerAuthentication":
		return strictly(text, &m.Logins)
	}
	return unknownKindError(kind)
}

func strictly[T any](text []byte, all *[]*T) error {
	one := new(T)
	*all = append(*all, one)
	return yaml.UnmarshalStrict(text, one)
}

// pod is what makes pods, whether a Deployment or a Job.
type pod struct {
	name     string
	template core.PodTemplateSpec
	replicas *int32
	forever  bool // a Deployment
}

func (m *manifests) pods() (all []pod) {
	for _, d := range m.Deployments {
		all = append(all, pod{d.Name, d.Spec.Template, d.Spec.Replicas, true})
	}
	for _, j := range m.Jobs {
		all = append(all, pod{j.Name, j.Spec.Template, nil, false})
	}
	return all
}

// selected are the pods that a selector's labels match.
func (m *manifests) selected(t *testing.T, s *meta.LabelSelector) (all []pod) {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.pods() {
		if selector.Matches(labels.Set(p.template.Labels)) {
			all = append(all, p)
		}
	}
	return all
}

// variables are what a container is given, with the value of those that are no secret.
func (m *manifests) variables(t *testing.T, c core.Container) map[string]string {
	t.Helper()
	given := map[string]string{}
	for _, from := range c.EnvFrom {
		i := slices.IndexFunc(m.ConfigMaps, func(cm *core.ConfigMap) bool { return from.ConfigMapRef != nil && cm.Name == from.ConfigMapRef.Name })
		if i < 0 {
			t.Fatalf("%s: %s reads a ConfigMap that is not there: %+v", m.overlay, c.Name, from)
		}
		for name, value := range m.ConfigMaps[i].Data {
			given[name] = value
		}
	}
	for _, v := range c.Env {
		if _, twice := given[v.Name]; twice {
			t.Errorf("%s: %s is given %s twice", m.overlay, c.Name, v.Name)
		}
		given[v.Name] = v.Value
	}
	return given
}
