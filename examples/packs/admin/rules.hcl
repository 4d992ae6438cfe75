rule "privileged" {
  on       = [pipeline.memberships]
  when     = has(table.groups[event.raw.group])
  title    = "${event.raw.user} is in ${event.raw.group} now, whose members ${table.groups[event.raw.group].how}"
  severity = 55
  respond  = [response.tell]

  about {
    goal            = "An account that can become root from now on."
    plainly         = "Somebody has been given all rights on a machine."
    technique       = ["T1098.007"]
    strategy        = "usermod, useradd and gpasswd log each new member of a group. Which groups lead to root, and how, is in groups.csv."
    blind_spots     = "Who edits /etc/group or a file of sudo's by hand; rights in a directory."
    false_positives = "New colleagues in the team that looks after the machine; hosts in the variable expected."
    validation      = "usermod -aG sudo somebody"
    author          = "Kelpie's examples"
  }

  test "into sudo, and into docker" {
    given "detector.accounts" {
      events = [
        { tool = "usermod", user = "mara", group = "sudo", host = "bastion", time = "2026-11-22T13:00:00Z" },
        { tool = "gpasswd", user = "nils", by = "root", group = "docker", host = "web", time = "2026-11-22T13:05:00Z" },
      ]
    }
    want {
      signals = 2
    }
  }

  test "into a group that leads nowhere is quiet" {
    given "detector.accounts" {
      events = [{ tool = "usermod", user = "mara", group = "audio", host = "bastion", time = "2026-11-22T13:00:00Z" }]
    }
    want {
      signals = 0
    }
  }
}

rule "second_root" {
  on       = [pipeline.created]
  when     = event.raw.uid == "0" && event.raw.user != "root"
  title    = "${event.raw.user} is a second root on ${event.raw.host}"
  severity = 85
  respond  = [response.tell]

  about {
    goal            = "An account that is root by another name."
    plainly         = "Somebody made a second key to the whole machine."
    technique       = ["T1136.001"]
    strategy        = "An account with the number 0 is root, whatever it is called. No package makes one."
    blind_spots     = "Who edits /etc/passwd by hand."
    false_positives = "Some appliances have such an account from the start."
    validation      = "useradd -o -u 0 toor"
    author          = "Kelpie's examples"
  }

  test "toor" {
    given "detector.accounts" {
      events = [{ tool = "useradd", user = "toor", uid = "0", host = "bastion", time = "2026-11-22T13:00:00Z" }]
    }
    want {
      signals = 1
    }
  }

  test "an ordinary account is quiet" {
    given "detector.accounts" {
      events = [{ tool = "useradd", user = "kim", uid = "1003", host = "bastion", time = "2026-11-22T13:00:00Z" }]
    }
    want {
      signals = 0
    }
  }
}

rule "new_admin" {
  sequence = [pipeline.created, rule.privileged]
  by       = ["user", "host"]
  within   = "1h"
  severity = 80
  respond  = [response.tell]
  title    = "A new account became an administrator at once"

  about {
    goal            = "An account that is made and given all rights in one go."
    plainly         = "Somebody made a new account and gave it all rights."
    technique       = ["T1136.001", "T1098.007"]
    strategy        = "People get an account first and rights when they need them; who comes back later wants both at once."
    blind_spots     = "Who waits for more than an hour, or makes an account on one machine and gives it rights on another."
    false_positives = "Machines that are being set up; hosts in the variable expected."
    validation      = "useradd eve; usermod -aG sudo eve"
    author          = "Kelpie's examples"
  }

  test "made, and in sudo a minute later" {
    given "detector.accounts" {
      events = file("tests/new_admin.ndjson")
    }
    want {
      signals = 1
    }
  }

  test "the rights of an old account are quiet here" {
    given "detector.accounts" {
      events = file("tests/promoted.ndjson")
    }
    want {
      signals = 0
    }
  }
}
