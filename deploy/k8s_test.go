package deploy_test

import (
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/quittance/quittance/queue"
)

var overlays = []string{"development", "production"}

// each runs a test for each overlay.
func each(t *testing.T, check func(*testing.T, *manifests)) {
	t.Helper()
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			check(t, build(t, overlay))
		})
	}
}

// program is which of ours a container runs.
func program(c core.Container) string {
	name, _, _ := strings.Cut(path.Base(c.Image), ":")
	return name
}

func TestPodsAreGivenWhatTheirProgramsRead(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m *manifests) {
		for _, p := range m.pods() {
			for _, c := range p.template.Spec.Containers {
				checkVariables(t, p.name, program(c), m.variables(t, c))
			}
		}
	})
}

func TestEachKindOfWorkerHasItsDeployment(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m *manifests) {
		var kinds []string
		for _, d := range m.Deployments {
			if c := d.Spec.Template.Spec.Containers[0]; program(c) == "worker" {
				kinds = append(kinds, c.Args...)
				if len(c.Args) != 1 || d.Name != "worker-"+c.Args[0] || d.Spec.Template.Labels["app.kubernetes.io/component"] != c.Args[0] {
					t.Errorf("%s runs %v, and is labelled %v", d.Name, c.Args, d.Spec.Template.Labels)
				}
			}
		}
		slices.Sort(kinds)
		if want := workerKinds(t); !slices.Equal(kinds, want) {
			t.Errorf("there are workers for %v, want %v: add a folder to deploy/k8s/base/workers", kinds, want)
		}
	})
}

func TestProbesAskWhatListens(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m *manifests) {
		for _, p := range m.pods() {
			for _, c := range p.template.Spec.Containers {
				checkPorts(t, p.name, c, m.variables(t, c))
				if p.forever {
					checkProbe(t, p.name, c, "readiness", c.ReadinessProbe)
					checkProbe(t, p.name, c, "liveness", c.LivenessProbe)
				}
			}
		}
	})
}

// checkPorts wants the ports of a container to be those that its variables name.
func checkPorts(t *testing.T, where string, c core.Container, given map[string]string) {
	t.Helper()
	var listens, ports []string
	for name, value := range given {
		if strings.HasSuffix(name, "_ADDR") {
			listens = append(listens, value[strings.LastIndex(value, ":")+1:])
		}
	}
	for _, port := range c.Ports {
		ports = append(ports, strconv.Itoa(int(port.ContainerPort)))
	}
	slices.Sort(listens)
	slices.Sort(ports)
	if !slices.Equal(listens, ports) {
		t.Errorf("%s listens on %v, and says %v", where, listens, ports)
	}
}

// checkProbe wants a probe that asks the port where our programs answer it.
func checkProbe(t *testing.T, where string, c core.Container, kind string, probe *core.Probe) {
	t.Helper()
	wantPort, wantPath := "monitor", map[string]string{"readiness": "/readyz", "liveness": "/healthz"}[kind]
	if program(c) == "sandbox" {
		wantPort, wantPath = "http", "/healthz"
	}
	if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.StrVal != wantPort || probe.HTTPGet.Path != wantPath {
		t.Errorf("%s: the %s probe is %+v, want one of %s at %s", where, kind, probe, wantPath, wantPort)
	}
	if !hasPort(c, intstr.FromString(wantPort)) {
		t.Errorf("%s has no port %s", where, wantPort)
	}
}

func hasPort(c core.Container, port intstr.IntOrString) bool {
	return slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool { return p.Name == port.StrVal || p.ContainerPort == port.IntVal })
}

func TestServicesReachPods(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m *manifests) {
		for _, s := range m.Services {
			pods := m.selected(t, &meta.LabelSelector{MatchLabels: s.Spec.Selector})
			if len(pods) == 0 {
				t.Errorf("the Service %s reaches nobody", s.Name)
			}
			for _, p := range pods {
				for _, port := range s.Spec.Ports {
					if !hasPort(p.template.Spec.Containers[0], port.TargetPort) {
						t.Errorf("the Service %s asks for port %s, which %s has not", s.Name, port.TargetPort.String(), p.name)
					}
				}
			}
		}
		for _, i := range m.Ingresses {
			to := i.Spec.Rules[0].HTTP.Paths[0].Backend.Service
			if !slices.ContainsFunc(m.Services, func(s *core.Service) bool { return s.Name == to.Name && s.Spec.Ports[0].Name == to.Port.Name }) {
				t.Errorf("the Ingress %s leads to %s, which is no Service", i.Name, to)
			}
		}
		for _, s := range m.Monitors {
			selector := s.Spec.Selector.MatchLabels
			if !slices.ContainsFunc(m.Services, func(svc *core.Service) bool {
				return svc.Labels["app.kubernetes.io/name"] == selector["app.kubernetes.io/name"] && svc.Spec.Ports[0].Name == s.Spec.Endpoints[0].Port
			}) {
				t.Errorf("the ServiceMonitor %s finds no Service with %v", s.Name, selector)
			}
		}
	})
}

func TestPodsHaveNoPrivileges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m *manifests) {
		for _, p := range m.pods() {
			spec := p.template.Spec
			if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
				t.Errorf("%s can talk to Kubernetes", p.name)
			}
			if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
				t.Errorf("%s gets a variable for each Service, which may look like one of ours", p.name)
			}
			s := spec.SecurityContext
			if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: the pod's security context is %+v", p.name, s)
			}
			for _, c := range spec.Containers {
				checkContainer(t, p.name, c)
			}
		}
	})
}

func checkContainer(t *testing.T, where string, c core.Container) {
	t.Helper()
	s := c.SecurityContext
	if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
		t.Errorf("%s: the container's security context is %+v", where, s)
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("%s: the resources are %+v, want requests, and a limit of memory", where, c.Resources)
	}
}

// What a process may take from SIGTERM to its end: see workers.Serve, and each worker's Drain.
// The longest is that of a receipt and of a push; all may be followed by one more of the relay.
const (
	serveDrain  = 20 * time.Second
	workerDrain = 30 * time.Second
	relayDrain  = 20 * time.Second
)

func TestPodsMayFinishWhatTheyHold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m *manifests) {
		for _, d := range m.Deployments {
			spec := d.Spec.Template.Spec
			c := spec.Containers[0]
			grace, want := time.Duration(*spec.TerminationGracePeriodSeconds)*time.Second, serveDrain
			switch program(c) {
			case "api":
				if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil {
					t.Fatalf("%s does not wait until nobody sends it requests", d.Name)
				}
				want = time.Duration(c.Lifecycle.PreStop.Sleep.Seconds)*time.Second + 2*serveDrain + relayDrain
			case "worker":
				want = workerDrain + serveDrain + relayDrain
			}
			if grace <= want {
				t.Errorf("%s is killed after %s, and may need %s", d.Name, grace, want)
			}
		}
	})
}

func TestOneMachineMayGoAway(t *testing.T) {
	t.Parallel()
	m := build(t, "production")
	for _, d := range m.Deployments {
		if d.Spec.Replicas == nil {
			continue // it is scaled
		}
		if *d.Spec.Replicas < 2 {
			t.Errorf("%s has %d replicas", d.Name, *d.Spec.Replicas)
		}
	}
	for _, p := range m.pods() {
		if !p.forever {
			continue
		}
		budgets := 0
		for _, b := range m.Budgets {
			if slices.ContainsFunc(m.selected(t, b.Spec.Selector), func(s pod) bool { return s.name == p.name }) {
				budgets++
			}
		}
		if budgets != 1 { // with two, nothing can be evicted
			t.Errorf("%s has %d PodDisruptionBudgets", p.name, budgets)
		}
		for _, spread := range p.template.Spec.TopologySpreadConstraints {
			if s := m.selected(t, spread.LabelSelector); len(s) != 1 || s[0].name != p.name {
				t.Errorf("%s is spread among %v", p.name, s)
			}
		}
		if len(p.template.Spec.TopologySpreadConstraints) != 2 {
			t.Errorf("%s is not spread over zones and nodes", p.name)
		}
	}
	if r := m.RabbitMQ[0].Spec; r.Replicas != 3 {
		t.Errorf("RabbitMQ has %d nodes, want 3", r.Replicas)
	}
	p := m.Postgres[0].Spec
	if s := p.PostgreSQL.Synchronous; p.Instances != 3 || s == nil || s.Number != 1 || s.Method != "any" || s.DataDurability != "required" {
		t.Errorf("PostgreSQL has %d instances, synchronous %+v: want 3, of which one has what is answered", p.Instances, s)
	}
}

func TestQueuesScaleTheWorkersThatCallOut(t *testing.T) {
	t.Parallel()
	m := build(t, "production")
	scaled := map[string]string{} // its worker, by queue
	for _, s := range m.Scaled {
		i := slices.IndexFunc(m.pods(), func(p pod) bool { return p.name == s.Spec.ScaleTargetRef.Name })
		if i < 0 {
			t.Fatalf("the ScaledObject %s is of %s, which is not there", s.Name, s.Spec.ScaleTargetRef.Name)
		}
		if r := m.pods()[i].replicas; r != nil {
			t.Errorf("%s is scaled, and has %d replicas: each apply would go back to them", s.Name, *r)
		}
		if s.Spec.MinReplicaCount < 2 || s.Spec.MaxReplicaCount <= s.Spec.MinReplicaCount || s.Spec.Fallback.Replicas < s.Spec.MinReplicaCount {
			t.Errorf("%s has from %d to %d replicas, and %d where the queue is not known",
				s.Name, s.Spec.MinReplicaCount, s.Spec.MaxReplicaCount, s.Spec.Fallback.Replicas)
		}
		for _, trigger := range s.Spec.Triggers {
			md := trigger.Metadata
			if value, err := strconv.Atoi(md.Value); trigger.Type != "rabbitmq" || md.Protocol != "amqp" || md.Mode != "QueueLength" || err != nil || value < 1 {
				t.Errorf("%s: the trigger is %+v", s.Name, trigger)
			}
			if !slices.ContainsFunc(m.Logins, func(l *triggerAuthentication) bool { return l.Name == trigger.AuthenticationRef.Name }) {
				t.Errorf("%s logs in as %s, which is not there", s.Name, trigger.AuthenticationRef.Name)
			}
			scaled[md.QueueName] = s.Spec.ScaleTargetRef.Name
		}
	}
	want := map[string]string{
		queue.Cards: "worker-card", queue.Callbacks: "worker-callback", queue.CallbacksRetry: "worker-callback",
		queue.Pushes: "worker-push", queue.Receipts: "worker-receipt",
		queue.Payments: "", queue.Recharges: "", // they have one active consumer
	}
	for _, q := range queue.WorkQueues {
		if worker, known := want[q]; !known || scaled[q] != worker {
			t.Errorf("the queue %s scales %q, want %q", q, scaled[q], worker)
		}
		delete(scaled, q)
	}
	for q := range scaled {
		t.Errorf("there is no work queue %s", q)
	}
}

// While a version is rolled out there are more pods: by one of the api, and by a quarter of each
// kind of worker.
func TestThePoolsFitTheDatabase(t *testing.T) {
	t.Parallel()
	m := build(t, "production")
	sum := 20 // for operators, and for what PostgreSQL keeps to itself
	for _, d := range m.Deployments {
		pods, c := 0, d.Spec.Template.Spec.Containers[0]
		if d.Spec.Replicas != nil {
			pods = int(*d.Spec.Replicas)
		}
		for _, s := range m.Scaled {
			if s.Spec.ScaleTargetRef.Name == d.Name {
				pods = int(s.Spec.MaxReplicaCount)
			}
		}
		name := "QUITTANCE_" + strings.ToUpper(program(c)) + "_DATABASE_CONNS"
		value, given := m.variables(t, c)[name]
		if !given {
			value = variablesOf(t, program(c))[name].fallback
		}
		conns, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("%s: %s: %v", d.Name, name, err)
		}
		sum += (pods + (pods+3)/4) * conns
	}
	if have, err := strconv.Atoi(m.Postgres[0].Spec.PostgreSQL.Parameters["max_connections"]); err != nil || have < sum {
		t.Errorf("all pods at their most open %d connections, and PostgreSQL takes %d (%v)", sum, have, err)
	}
}

// The private ranges that no policy may lead to, each by an address within it.
var private = []string{
	"10.1.2.3", "172.16.5.4", "192.168.1.1", "100.64.0.1", "169.254.169.254", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
	"::1", "fd00::1", "fe80::1", "fd00:ec2::254", "64:ff9b::a01:203", "2002:a01:203::1", "ff02::1", "::ffff:10.1.2.3",
}

func TestPoliciesLeadNowhereElse(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m *manifests) {
		outside := map[string]bool{}
		denied := false
		for _, p := range m.Policies {
			if len(p.Spec.PodSelector.MatchLabels)+len(p.Spec.PodSelector.MatchExpressions) == 0 {
				denied = denied || (len(p.Spec.PolicyTypes) == 2 && p.Spec.Ingress == nil && p.Spec.Egress == nil)
				continue
			}
			selected := m.selected(t, &p.Spec.PodSelector)
			if len(selected) == 0 && !ofServers(m, p) {
				t.Errorf("the policy %s is of nobody: %v", p.Name, p.Spec.PodSelector)
			}
			for _, block := range blocks(p) {
				checkPrivate(t, p.Name, block)
				for _, s := range selected {
					outside[s.name] = true
				}
			}
		}
		if !denied {
			t.Error("nothing denies what no policy allows")
		}
		for _, p := range m.pods() {
			if want := slices.Contains([]string{"api", "worker-card", "worker-callback", "worker-push", "worker-receipt"}, p.name); outside[p.name] != want {
				t.Errorf("%s reaches the internet: %v, want %v", p.name, outside[p.name], want)
			}
		}
	})
}

// ofServers is whether a policy is of the pods that the operators make of their resources.
func ofServers(m *manifests, p *networking.NetworkPolicy) bool {
	l := p.Spec.PodSelector.MatchLabels
	return l["cnpg.io/cluster"] == m.Postgres[0].Name || l["app.kubernetes.io/name"] == m.RabbitMQ[0].Name
}

func blocks(p *networking.NetworkPolicy) (all []*networking.IPBlock) {
	for _, rule := range p.Spec.Egress {
		for _, to := range rule.To {
			if to.IPBlock != nil {
				all = append(all, to.IPBlock)
			}
		}
	}
	return all
}

func checkPrivate(t *testing.T, policy string, block *networking.IPBlock) {
	t.Helper()
	within, err := netip.ParsePrefix(block.CIDR)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range private {
		addr := netip.MustParseAddr(text)
		excepted := false
		for _, e := range block.Except {
			prefix, err := netip.ParsePrefix(e)
			if err != nil || prefix.Masked() != prefix || !within.Contains(prefix.Addr()) {
				t.Fatalf("%s: the exception %s of %s: %v", policy, e, block.CIDR, err)
			}
			excepted = excepted || prefix.Contains(addr)
		}
		if within.Contains(addr) && !excepted {
			t.Errorf("the policy %s leads to %s", policy, addr)
		}
	}
}

// What is secret is in a Secret that an operator makes: in production none is in the manifests,
// and the documentation names each key.
func TestSecretsAreReferences(t *testing.T) {
	t.Parallel()
	m := build(t, "production")
	if len(m.Secrets) > 0 {
		t.Errorf("production has %d Secrets of its own", len(m.Secrets))
	}
	documented, err := os.ReadFile("docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	known := func(where, secret, key string) {
		if !strings.Contains(string(documented), secret) || !strings.Contains(string(documented), key) {
			t.Errorf("%s needs %s of the Secret %s, which deploy/docs/kubernetes.md does not name", where, key, secret)
		}
	}
	for _, p := range m.pods() {
		for _, v := range p.template.Spec.Containers[0].Env {
			if v.ValueFrom != nil {
				known(p.name, v.ValueFrom.SecretKeyRef.Name, v.ValueFrom.SecretKeyRef.Key)
			}
		}
		for _, v := range p.template.Spec.Volumes {
			known(p.name, v.Secret.SecretName, "credentials.json")
		}
	}
	for _, l := range m.Logins {
		known(l.Name, l.Spec.SecretTargetRef[0].Name, l.Spec.SecretTargetRef[0].Key)
	}
}

// The development's Secrets are generated: a key that a pod asks for and that is not there would
// keep it from starting.
func TestTheDevelopmentHasItsSecrets(t *testing.T) {
	t.Parallel()
	m := build(t, "development")
	has := func(name, key string) bool {
		return slices.ContainsFunc(m.Secrets, func(s *core.Secret) bool { return s.Name == name && s.Data[key] != nil })
	}
	for _, p := range m.pods() {
		for _, v := range p.template.Spec.Containers[0].Env {
			if v.ValueFrom != nil && !has(v.ValueFrom.SecretKeyRef.Name, v.ValueFrom.SecretKeyRef.Key) {
				t.Errorf("%s: %s is not there", p.name, v.ValueFrom.SecretKeyRef)
			}
		}
	}
	if owner := m.Postgres[0].Spec.Bootstrap.InitDB.Secret; owner == nil || !has(owner.Name, "password") {
		t.Errorf("PostgreSQL's owner has the Secret %v", owner)
	}
	for _, role := range m.Postgres[0].Spec.Managed.Roles {
		if !has(role.PasswordSecret.Name, "password") {
			t.Errorf("the role %s has the Secret %v", role.Name, role.PasswordSecret)
		}
	}
}

// Api and worker log in as a role that cannot rewrite what happened: the operator makes it, and
// the migration grants to it.
func TestTheRuntimeRoleIsMadeAndGrantedTo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m *manifests) {
		roles := m.Postgres[0].Spec.Managed.Roles
		if len(roles) != 1 || !roles[0].Login || roles[0].Ensure != "present" {
			t.Fatalf("the managed roles are %+v, want one that logs in", roles)
		}
		if !slices.ContainsFunc(m.pods(), func(p pod) bool {
			return slices.Equal(p.template.Spec.Containers[0].Args, []string{"migrate", "--runtime", roles[0].Name})
		}) {
			t.Errorf("no migration grants to %s", roles[0].Name)
		}
	})
}
