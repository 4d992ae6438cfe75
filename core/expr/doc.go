// Package expr evaluates the expressions of the configuration: conditions, maps, points, texts. They are HCL's native
// expressions, compiled once into closures that read raw JSON and values that Go provides.
//
// What is special is null. A path that leads nowhere is null, and so is a value of a kind that its user cannot take: no
// value changes its kind by itself, except that a template writes it as text and an object's key is text. == and != work
// on null, every other comparison and all arithmetic give null of it, and so do functions, except those that say
// otherwise. !, && and || are three-valued: null || true is true, null && false is false, !null is null. A condition that
// is null is false. In a text null reads unknown. [Env.Strict] has other rules, under which ignore and protect fail
// closed.
//
// Numbers are decimals and exact: sums of cents add up, and 64-bit ids keep all their digits. A number beyond 40 digits or
// an exponent beyond 308 is null; so is a whole result beyond them, while a fraction is rounded to 40 digits. A division
// by zero is null. Text is compared in Unicode's form NFC.
//
// An attribute of a list is the list of that attribute of its elements: case.assets.owner is case.assets[*].owner.
//
// Nothing here reads a clock, a file or the environment. However hostile the data, an evaluation takes bounded time and
// memory: see [Scope.Exceeded].
//
// What many programs read of one JSON text is found in one pass over it, which checks it as well: an [Index] numbers the
// paths, a [Plan] says which of them to look for, and a [Document] has the places. A condition is then a few look-ups.
//
// [Reference] is the same, slow and obvious; the tests hold the two against each other.
package expr
