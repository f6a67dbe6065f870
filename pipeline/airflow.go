package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Airflow writes the pipeline as a DAG of Apache Airflow 3 that runs the same programs, with the
// same needs, retries and timeouts, in folder. Airflow keeps no outputs, so nothing is cached: each
// run runs every step.
func (g *Graph) Airflow(folder string) string {
	var b strings.Builder
	p := g.Pipeline
	fmt.Fprintf(&b, `"""Pipeline %s.

Written by driftline export airflow: change the pipeline and write it again.
"""

import os
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

FOLDER = os.environ.get("DRIFTLINE_PIPELINE_FOLDER", %s)

with DAG(
    dag_id=%s,
    description=%s,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["driftline"],
) as dag:
`, p.Name, python(folder), python(p.Name), python(p.Description))
	for _, name := range g.Order {
		g.airflowTask(&b, name)
	}
	for _, name := range g.Order {
		if needs := g.Needs[name]; len(needs) > 0 {
			fmt.Fprintf(&b, "    [%s] >> %s\n", strings.Join(pythonNames(needs), ", "), pythonName(name))
		}
	}
	return b.String()
}

func (g *Graph) airflowTask(b *strings.Builder, name string) {
	step := g.Steps[name]
	environment := map[string]string{}
	maps.Copy(environment, g.Pipeline.Environment)
	maps.Copy(environment, step.Environment)
	environment["DRIFTLINE_PIPELINE"], environment["DRIFTLINE_STEP"] = g.Pipeline.Name, name
	fmt.Fprintf(b, "    %s = BashOperator(\n        task_id=%s,\n        bash_command=%s,\n        cwd=FOLDER,\n        append_env=True,\n        env={\n",
		pythonName(name), python(name), python(commandLine(step.Argv())))
	for _, key := range slices.Sorted(maps.Keys(environment)) {
		fmt.Fprintf(b, "            %s: %s,\n", python(key), python(plainText.Replace(environment[key])))
	}
	b.WriteString("        },\n")
	if step.Description != "" {
		fmt.Fprintf(b, "        doc=%s,\n", python(step.Description))
	}
	if step.Retries > 0 {
		fmt.Fprintf(b, "        retries=%d,\n        retry_delay=timedelta(seconds=%s),\n        retry_exponential_backoff=True,\n", step.Retries, seconds(time.Duration(step.RetryDelay)))
	}
	fmt.Fprintf(b, "        execution_timeout=timedelta(seconds=%s),\n    )\n", seconds(time.Duration(step.Timeout)))
}

func seconds(d time.Duration) string { return strings.TrimSuffix(fmt.Sprintf("%g", d.Seconds()), ".0") }

// commandLine is a program and its arguments as bash reads them. The space at its end keeps Airflow
// from taking a command that ends in .sh or .bash for the name of a template.
func commandLine(argv []string) string {
	quoted := make([]string, len(argv))
	for i, word := range argv {
		quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return plainText.Replace(strings.Join(quoted, " ")) + " "
}

// plainText keeps Jinja, which Airflow has read commands and environments, from finding anything in a text.
var plainText = strings.NewReplacer("{{", "{{ '{{' }}", "{%", "{{ '{%' }}", "{#", "{{ '{#' }}")

// python writes a text as a literal of Python.
func python(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// pythonName is a name that is no word of Python's.
func pythonName(name string) string { return "step_" + name }

func pythonNames(names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = pythonName(name)
	}
	return all
}
