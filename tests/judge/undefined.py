#!/usr/bin/env python3
"""What ansible-core runs on a host without error, `ishprov lint` does not refuse for an undefined name.

Run by hand, outside of `./test`: undefined.py ANSIBLE_PLAYBOOK ISHPROV [CASES] [SEED]
Each case is a play of random tasks for a host of its own. One run of ansible-playbook judges all; `ishprov lint` looks at
each. Reported: false alarms (there must be none), and how many of the failures by undefined names lint finds beforehand.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

KNOWN = ["known", "number", "items", "table", "flag_on", "flag_off"]
VARS = (
    "    vars: {known: text, number: 3, items: [a, b], table: {a: 1, b: two}, flag_on: true, flag_off: false,"
    " chain: \"{{ known }}-{{ number }}\", broken: \"{{ nowhere }}\", empty: []}\n"
)
MISSING = ["nope", "gone", "table.nope", "broken", "nope.deep.er"]


def root(name):
    return name.split(".")[0]


class Case:
    """One play."""

    def __init__(self, rng):
        self.rng = rng
        self.results = []

    def pick(self, *choices):
        return self.rng.choice(choices)

    def name(self):
        some = KNOWN + ["chain", "empty"] + MISSING * 2 + [f"{name}.rc" for name in self.results]
        return self.rng.choice(some)

    def truth(self, depth=0):
        """A condition."""
        name, other = self.name(), self.name()
        kinds = [
            f"{name} is defined", f"{name} is not defined", f"{name} is defined and {name} == 'text'",
            f"{name} is not defined or {name} == 'text'", f"{name} | default(false) | bool",
            f"{name} | default('x') == 'x'", "flag_on", "flag_off", "not flag_off", "number > 2",
            f"flag_off and {name} == 1", f"flag_on or {name} == 1", f"({name} if flag_off else known) == 'text'",
            "'a' in items", f"known == 'text' and ({name} is defined)",
        ]
        kinds += [f"{result} is succeeded" for result in self.results]
        kinds += [f"{result} is skipped or {name} is defined" for result in self.results]
        if self.rng.random() < 0.12:
            kinds = [f"{name} == {other}", f"{name} | string | length > 0"]
        if depth < 2 and self.rng.random() < 0.25:
            return f"({self.truth(depth + 1)}) {self.pick('and', 'or')} ({self.truth(depth + 1)})"
        return self.rng.choice(kinds)

    def text(self, item=None):
        """A value."""
        name = self.name()
        kinds = [
            "{{ known }}", "{{ %s | default('d') }}" % name, "{{ %s if %s is defined else 'e' }}" % (name, name),
            "{%% if %s is defined %%}{{ %s }}{%% else %%}f{%% endif %%}" % (root(name), root(name)),
            "{%% for x in %s | default([]) %%}{{ x }}{%% endfor %%}" % root(name), "{{ chain }} plain",
            "{{ 'x' if flag_on else %s }}" % name, "{{ (flag_on or %s) | string }}" % name,
            "{{ [] | first | default('none') }}", "{{ %s | ternary('x', 'y') }}" % self.pick("flag_on", "flag_off"),
            "{{ table['a'] }} {{ items[0] }}", "{%% set y = 1 %%}{{ y }} {{ %s is defined }}" % name,
            "{{ lookup('vars', 'known') }} {{ lookup('vars', '%s', default='v') }}" % root(name),
        ]
        if item:
            kinds += ["{{ %s }}" % item] * 3
        kinds += ["{{ %s.rc | default(0) }}" % result for result in self.results]
        if self.rng.random() < 0.12:
            kinds = ["{{ %s }}" % name]
        return self.rng.choice(kinds)

    def loop(self):
        """Keywords of a loop, and the name of its item."""
        var = self.pick("item", "item", "thing")
        source = self.pick(
            "[1, 2]", "\"{{ items }}\"", "\"{{ empty }}\"", "\"{{ nope | default([]) }}\"", "[x, \"{{ nope | default('') }}\"]",
            "\"{{ %s }}\"" % self.pick("items", "items", "nope", "broken"),
        )
        lines = [f"loop: {source}"]
        control = [f"loop_var: {var}"] if var != "item" else []
        if self.rng.random() < 0.3:
            control.append("index_var: at")
        if self.rng.random() < 0.3:
            control.append("extended: true")
        if control:
            lines.append("loop_control: {%s}" % ", ".join(control))
        return lines, var, control

    def task(self, pad):
        item, lines, conditions = None, [], []
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            conditions.append(self.truth())
        if self.rng.random() < 0.35:
            more, item, control = self.loop()
            lines += more
            if self.rng.random() < 0.5:
                conditions.append(self.pick(
                    f"{item} == 'a' or {item} == 1", f"{item} | string | length > 0",
                    "at == 0" if "index_var: at" in control else f"{item} is defined",
                    "ansible_loop.first" if "extended: true" in control else f"{item} != 2",
                ))
        kind = self.rng.random()
        if kind < 0.15:
            name = f"set_{self.rng.randrange(100)}"
            head = "set_fact: {%s: %s}" % (name, json.dumps(self.text(item)))
        elif kind < 0.3:
            result = f"result_{len(self.results)}"
            head = "command: \"true\""
            lines.append(f"register: {result}")
            lines.append("changed_when: %s" % json.dumps(self.pick("false", f"{result} is failed")))
            if not item:
                self.results.append(result)
        elif kind < 0.36:
            head = "debug: {var: %s}" % self.name()
        elif kind < 0.42:
            head = "assert: {that: [%s]}" % json.dumps(self.pick("flag_on", "number == 3", "nope is not defined"))
        else:
            head = "debug: {msg: %s}" % json.dumps(self.text(item))
        if conditions:
            lines.append("when: [%s]" % ", ".join(json.dumps(one) for one in conditions))
        if self.rng.random() < 0.06:
            lines.append("ignore_errors: true")
        return f"{pad}- {head}\n" + "".join(f"{pad}  {line}\n" for line in lines)

    def tasks(self, pad="        ", depth=0):
        out = ""
        for _ in range(self.rng.choice([1, 2, 2, 3])):
            if depth == 0 and self.rng.random() < 0.2:
                inner = pad + "    "
                out += f"{pad}- when: {json.dumps(self.truth())}\n{pad}  block:\n{self.tasks(inner, 1)}"
                if self.rng.random() < 0.4:
                    out += f"{pad}  rescue:\n{inner}- debug: {{msg: rescued}}\n"
            else:
                out += self.task(pad)
        return out


def main():
    ansible, ishprov = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    count, seed = int((sys.argv[3:] or ["100"])[0]), int((sys.argv[4:] or ["1"])[0])
    rng = random.Random(seed)
    hosts = [f"c{number}" for number in range(count)]
    plays = [f"  - hosts: {host}\n    gather_facts: false\n{VARS}    tasks:\n{Case(rng).tasks()}" for host in hosts]
    plays = ["\n".join(line[2:] for line in play.splitlines()) + "\n" for play in plays]
    # A play all of whose hosts failed would end the run: one more host leaves each play unharmed.
    leave = "  tasks:\n      - meta: end_host\n        when: inventory_hostname == 'anchor'\n"
    judged = [
        play.replace(f"- hosts: {host}\n", f"- hosts: {host},anchor\n").replace("  tasks:\n", leave, 1)
        for host, play in zip(hosts, plays)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        python = os.path.join(os.path.dirname(os.path.abspath(ansible)), "python")
        with open(path("hosts.ini"), "w") as file:
            file.writelines(f"{host} ansible_connection=local ansible_python_interpreter={python}\n" for host in hosts + ["anchor"])
        with open(path("all.yml"), "w") as file:
            file.writelines(judged)
        env = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DEPRECATION_WARNINGS": "0", "ANSIBLE_HOME": path("home")}
        shown = subprocess.run([ansible, "-i", "hosts.ini", "all.yml"], cwd=folder, env=env, capture_output=True, text=True)
        recap = shown.stdout.partition("PLAY RECAP")[2]
        failed = {line.split()[0] for line in recap.splitlines() if "failed=" in line and "failed=0" not in line}
        ran = {line.split()[0] for line in recap.splitlines() if "failed=0" in line}
        for host in set(hosts) - failed - ran:
            sys.exit(f"{host} was not judged:\n{shown.stdout[-2000:]}\n{shown.stderr[-2000:]}")
        false, found, missed, other = [], 0, 0, []
        for host, play in zip(hosts, plays):
            with open(path("site.yml"), "w") as file:
                file.write(play)
            with open(path("one.ini"), "w") as file:
                file.write(f"{host} ansible_connection=local\n")
            lint = subprocess.run([ishprov, "lint", "site.yml", "-i", "one.ini"], cwd=folder, capture_output=True, text=True)
            refused = lint.returncode != 0
            if host in ran and refused:
                (false if "is undefined" in lint.stderr else other).append((host, play, lint.stderr))
            if host in failed:
                found, missed = found + refused, missed + (not refused)
    for host, play, stderr in false:
        print(f"== FALSE ALARM {host}\n{play}\n{stderr}")
    for host, play, stderr in other:
        print(f"== refused for another reason {host}\n{play}\n{stderr}")
    print(f"seed {seed}: {len(ran)} ran without error, {len(false)} of them refused for an undefined name, "
          f"{len(other)} for another reason; {len(failed)} failed, {found} of them refused beforehand, {missed} left to the run")
    sys.exit(1 if false else 0)


main()
