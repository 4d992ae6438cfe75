rule "guessing" {
  on       = [pipeline.failed]
  count    = var.failures
  by       = ["ip"]
  within   = "10m"
  severity = 40
  respond  = [response.tell]
  title    = "Passwords are being guessed"

  about {
    goal            = "Somebody who guesses passwords from one address."
    plainly         = "Somebody tries many passwords, and none of them fits so far."
    technique       = ["T1110.001"]
    strategy        = "People mistype twice or three times; nobody does it eight times within ten minutes and goes on."
    blind_spots     = "Guessing from many addresses, or slower than eight in ten minutes."
    false_positives = "A program with an old password; many people behind one address."
    validation      = "Log in eight times with a wrong password."
    author          = "Kelpie's examples"
  }

  test "ten failures in a row" {
    given "detector.logins" {
      events = [for n in range(10, 20) : { outcome = "Failed", user = "root", src_ip = "198.51.100.23", host = "bastion", time = "2026-11-22T12:40:${n}Z" }]
    }
    want {
      signals = 1
    }
  }

  test "the same over an hour is quiet" {
    given "detector.logins" {
      events = [for n in range(10, 20) : { outcome = "Failed", user = "root", src_ip = "198.51.100.23", host = "bastion", time = "2026-11-22T${n}:40:00Z" }]
    }
    want {
      signals = 0
    }
  }

  test "ten people who mistype once are quiet" {
    given "detector.logins" {
      events = [for n in range(10, 20) : { outcome = "Failed", user = "u${n}", src_ip = "10.20.1.${n}", host = "bastion", time = "2026-11-22T12:40:${n}Z" }]
    }
    want {
      signals = 0
    }
  }
}

rule "spraying" {
  on       = [pipeline.failed]
  by       = ["ip"]
  within   = "30m"
  severity = 45
  respond  = [response.tell]
  title    = "One address tries many users"

  distinct {
    of    = event.raw.user
    least = var.users
  }

  about {
    goal            = "Somebody who tries a few passwords with many names."
    plainly         = "Somebody goes through a list of our people's names and tries passwords."
    technique       = ["T1110.003"]
    strategy        = "Who knows a password knows whose it is. Four names from one address within half an hour are a list."
    blind_spots     = "One name from each address."
    false_positives = "A jump host, or an office behind one address, where many mistype at once."
    validation      = "Log in as four users with wrong passwords."
    author          = "Kelpie's examples"
  }

  test "a list of names" {
    given "detector.logins" {
      events = file("tests/names.ndjson")
    }
    want {
      signals = 1
    }
  }

  test "one name, many times, is quiet here" {
    given "detector.logins" {
      events = [for n in range(10, 20) : { outcome = "Failed", user = "root", src_ip = "198.51.100.23", host = "bastion", time = "2026-11-22T12:40:${n}Z" }]
    }
    want {
      signals = 0
    }
  }
}

rule "guessed" {
  sequence = [rule.guessing, pipeline.accepted]
  by       = ["ip"]
  within   = "1h"
  severity = 85
  respond  = [response.tell]
  title    = "A password was guessed"

  about {
    goal            = "Guessing that ended with the right password."
    plainly         = "Somebody tried passwords until one fitted, and is in."
    technique       = ["T1110.001", "T1078"]
    strategy        = "A log-in with the right password is nothing by itself, and failures alone are every day's. One after the other, from one address, is a stolen account until its owner says otherwise."
    blind_spots     = "Who logs in from another address than the one that guessed."
    false_positives = "Somebody who at last remembers the password, after eight wrong ones."
    validation      = "Log in eight times with a wrong password, then with the right one."
    author          = "Kelpie's examples"
  }

  test "ten failures, then it fits" {
    given "detector.logins" {
      events = file("tests/fits.ndjson")
    }
    want {
      signals = 1
    }
  }

  test "a log-in from elsewhere is quiet" {
    given "detector.logins" {
      events = file("tests/elsewhere.ndjson")
    }
    want {
      signals = 0
    }
  }

  test "a right password and then failures are quiet" {
    given "detector.logins" {
      events = file("tests/before.ndjson")
    }
    want {
      signals = 0
    }
  }
}
