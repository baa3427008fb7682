;; A plugin that does whatever it is asked to do: a letter in what it is told chooses how it misbehaves.
;; on-publish: the second byte of the payload (`"t"` in JSON). on-call: the first byte of the method. on-subscribe and
;; on-unsubscribe: the last byte of the topic. start: the third byte from the end of the settings (`{"start":"t"}`).
;; on-message and on-timer: the first byte of the message, of the name. Any letter without a meaning here is good behaviour.
(module
  (import "rialto:plugin/messages@1.0.0" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "rialto:plugin/state@1.0.0" "get" (func $get (param i32 i32 i32)))
  (import "rialto:plugin/state@1.0.0" "put" (func $put (param i32 i32 i32 i32 i32)))
  (import "rialto:plugin/system@1.0.0" "log" (func $log (param i32 i32 i32)))
  (import "rialto:plugin/system@1.0.0" "now" (func $now (result i64)))

  (memory (export "memory") 64)

  ;; Texts. Results are written at 0, those of host calls at 64.
  (data (i32.const 256) "hostile.a")
  (data (i32.const 288) "foreign.topic")
  (data (i32.const 320) "a..b")
  (data (i32.const 352) "\"effect\"")
  (data (i32.const 384) "key")
  (data (i32.const 416) "\"\ff\"")
  (data (i32.const 448) "{oops")
  (data (i32.const 480) "\cb\7f\f8\00\00\00\00\00\00")
  (data (i32.const 512) "\"replaced\"")
  (data (i32.const 544) "good sentence")
  (data (i32.const 576) "\1b[31mred\1b[0m\nERROR forged line\r\00\08 \c2\9b end")
  (data (i32.const 640) "{\"why\":\"because\"}")
  (data (i32.const 704) "0123456789")
  (data (i32.const 736) "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]")

  (global $heap (mut i32) (i32.const 65536))
  ;; What to do in the next call of realloc or after the return: a letter, or nothing.
  (global $later_realloc (mut i32) (i32.const 0))
  (global $later_return (mut i32) (i32.const 0))

  (func $spin (loop $again (br $again)))

  (func $recurse (param i32) (result i32)
    (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (call $recurse (local.get 0))))

  (func $bomb
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    ;; No more is given: touch what is not there.
    (i32.store8 (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)))

  (func $publish_good (param $times i32)
    (loop $more
      (if (local.get $times)
        (then
          (call $publish (i32.const 256) (i32.const 9) (i32.const 0) (i32.const 352) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
          (local.set $times (i32.sub (local.get $times) (i32.const 1)))
          (br $more)))))

  (func $effects
    (call $publish_good (i32.const 2))
    (call $put (i32.const 384) (i32.const 3) (i32.const 544) (i32.const 13) (i32.const 64)))

  ;; What does not depend on the hook.
  (func $misbehave (param $letter i32)
    (if (i32.eq (local.get $letter) (i32.const 0x74)) (then unreachable))                    ;; t: a trap
    (if (i32.eq (local.get $letter) (i32.const 0x6c)) (then (call $spin)))                   ;; l: an endless loop
    (if (i32.eq (local.get $letter) (i32.const 0x6d)) (then (call $bomb)))                   ;; m: all memory
    (if (i32.eq (local.get $letter) (i32.const 0x72))                                        ;; r: endless recursion
      (then (drop (call $recurse (i32.const 0)))))
    (if (i32.eq (local.get $letter) (i32.const 0x66))                                        ;; f: host calls for ever
      (then (loop $more (drop (call $now)) (br $more))))
    (if (i32.eq (local.get $letter) (i32.const 0x46))                                        ;; F: log lines for ever
      (then (loop $more (call $log (i32.const 1) (i32.const 4096) (i32.const 60000)) (br $more))))
    (if (i32.eq (local.get $letter) (i32.const 0x70))                                        ;; p: messages for ever
      (then (loop $more (call $publish_good (i32.const 100)) (br $more))))
    (if (i32.eq (local.get $letter) (i32.const 0x42))                                        ;; B: text out of bounds
      (then (call $log (i32.const 1) (i32.const -16) (i32.const 1000))))
    (if (i32.eq (local.get $letter) (i32.const 0x45))                                        ;; E: no such log level
      (then (call $log (i32.const 77) (i32.const 544) (i32.const 13))))
    (if (i32.eq (local.get $letter) (i32.const 0x55))                                        ;; U: text not UTF-8
      (then (call $log (i32.const 1) (i32.const 416) (i32.const 3))))
    (if (i32.eq (local.get $letter) (i32.const 0x78)) (then (call $effects) unreachable))    ;; x: effects, then a trap
    (if (i32.eq (local.get $letter) (i32.const 0x79)) (then (call $effects) (call $spin)))   ;; y: effects, then a loop
    (if (i32.eq (local.get $letter) (i32.const 0x65)) (then (call $effects)))                ;; e: effects that count
    (if (i32.eq (local.get $letter) (i32.const 0x6b))                                        ;; k: 20 messages
      (then (call $publish_good (i32.const 20))))
    (if (i32.eq (local.get $letter) (i32.const 0x63))                                        ;; c: control characters
      (then (call $log (i32.const 3) (i32.const 576) (i32.const 40))))
    ;; 6, 7: a loop, a trap in the next call of realloc; 8, 9: a loop, a trap after the return of this very call
    (if (i32.eq (local.get $letter) (i32.const 0x36)) (then (global.set $later_realloc (i32.const 0x6c))))
    (if (i32.eq (local.get $letter) (i32.const 0x37)) (then (global.set $later_realloc (i32.const 0x74))))
    (if (i32.eq (local.get $letter) (i32.const 0x38)) (then (global.set $later_return (i32.const 0x6c))))
    (if (i32.eq (local.get $letter) (i32.const 0x39)) (then (global.set $later_return (i32.const 0x74)))))

  (func $clear (memory.fill (i32.const 0) (i32.const 0) (i32.const 64)))

  ;; An error in a result whose payload begins at 4: S says that the hook failed, s says it in bytes that are no text,
  ;; X has asked for effects before, R rejects with a detail after effects. True if there is one.
  (func $error (param $letter i32) (result i32)
    (local $text i32) (local $length i32)
    (if (i32.eq (local.get $letter) (i32.const 0x52))
      (then
        (call $effects)
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store (i32.const 8) (i32.const 544))
        (i32.store (i32.const 12) (i32.const 13))
        (i32.store8 (i32.const 16) (i32.const 1))
        (i32.store (i32.const 24) (i32.const 640))
        (i32.store (i32.const 28) (i32.const 17))
        (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x58)) (then (call $effects)))
    (if (i32.or (i32.eq (local.get $letter) (i32.const 0x58))
          (i32.or (i32.eq (local.get $letter) (i32.const 0x53)) (i32.eq (local.get $letter) (i32.const 0x73))))
      (then
        (local.set $text (i32.const 544))
        (local.set $length (i32.const 13))
        (if (i32.eq (local.get $letter) (i32.const 0x73))
          (then (local.set $text (i32.const 416)) (local.set $length (i32.const 3))))
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store8 (i32.const 4) (i32.const 1))
        (i32.store (i32.const 8) (local.get $text))
        (i32.store (i32.const 12) (local.get $length))
        (return (i32.const 1))))
    (i32.const 0))

  ;; A payload at 8, with the discriminant at 4 that says that there is one.
  (func $payload (param $encoding i32) (param $content i32) (param $length i32)
    (i32.store8 (i32.const 4) (i32.const 1))
    (i32.store8 (i32.const 8) (local.get $encoding))
    (i32.store (i32.const 12) (local.get $content))
    (i32.store (i32.const 16) (local.get $length)))

  ;; A payload that is wrong in itself, or good.
  (func $return (param $letter i32)
    (if (i32.eq (local.get $letter) (i32.const 0x75)) (then (call $payload (i32.const 0) (i32.const 416) (i32.const 3))))
    (if (i32.eq (local.get $letter) (i32.const 0x6a)) (then (call $payload (i32.const 0) (i32.const 448) (i32.const 5))))
    (if (i32.eq (local.get $letter) (i32.const 0x4e)) (then (call $payload (i32.const 1) (i32.const 480) (i32.const 9))))
    (if (i32.eq (local.get $letter) (i32.const 0x44)) (then (call $payload (i32.const 0) (i32.const 736) (i32.const 80))))
    (if (i32.eq (local.get $letter) (i32.const 0x76)) (then (call $payload (i32.const 9) (i32.const 512) (i32.const 10))))
    (if (i32.eq (local.get $letter) (i32.const 0x6f)) (then (call $payload (i32.const 0) (i32.const 512) (i32.const 10))))
    ;; h: three million bytes that are there; H: two billion that are not; w: no such case of the result
    (if (i32.eq (local.get $letter) (i32.const 0x68)) (then (call $payload (i32.const 2) (i32.const 65536) (i32.const 3000000))))
    (if (i32.eq (local.get $letter) (i32.const 0x48)) (then (call $payload (i32.const 2) (i32.const 65536) (i32.const 0x7fffffff))))
    (if (i32.eq (local.get $letter) (i32.const 0x77)) (then (i32.store8 (i32.const 4) (i32.const 99)))))

  ;; The answer to a question about the world: 0 to 9, as JSON.
  (func $digit (param $value i32)
    (call $payload (i32.const 0) (i32.add (i32.const 704) (local.get $value)) (i32.const 1)))

  ;; 1 when a publish was refused, and then 1 + the case of the refusal: forbidden, invalid, limit.
  (func $refusal (result i32)
    (if (result i32) (i32.load8_u (i32.const 64))
      (then (i32.add (i32.const 1) (i32.load8_u (i32.const 68))))
      (else (i32.const 0))))

  (func (export "rialto:plugin/hooks@1.0.0#start")
    (param $config i32) (param $length i32) (param i32 i32 i32) (result i32)
    (local $letter i32)
    (call $clear)
    (if (i32.gt_u (local.get $length) (i32.const 4))
      (then (local.set $letter
        (i32.load8_u (i32.sub (i32.add (local.get $config) (local.get $length)) (i32.const 3))))))
    (call $misbehave (local.get $letter))
    (if (i32.eq (local.get $letter) (i32.const 0x53))
      (then
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store (i32.const 4) (i32.const 544))
        (i32.store (i32.const 8) (i32.const 13))))
    (i32.const 0))

  (func $session_hook (param $topic i32) (param $length i32) (result i32)
    (local $letter i32)
    (call $clear)
    (local.set $letter (i32.load8_u (i32.sub (i32.add (local.get $topic) (local.get $length)) (i32.const 1))))
    (call $misbehave (local.get $letter))
    (drop (call $error (local.get $letter)))
    (i32.const 0))

  (func (export "rialto:plugin/hooks@1.0.0#on-subscribe")
    (param i32 i32 i32 i32 i32) (param $topic i32) (param $length i32) (result i32)
    (call $session_hook (local.get $topic) (local.get $length)))

  (func (export "rialto:plugin/hooks@1.0.0#on-unsubscribe")
    (param i32 i32 i32 i32 i32) (param $topic i32) (param $length i32) (result i32)
    ;; Only g misbehaves when a session leaves: the rest must be able to.
    (call $clear)
    (if (i32.eq (i32.const 0x67)
          (i32.load8_u (i32.sub (i32.add (local.get $topic) (local.get $length)) (i32.const 1))))
      (then (call $spin)))
    (i32.const 0))

  (func (export "rialto:plugin/hooks@1.0.0#on-publish")
    (param i32 i32 i32 i32 i32 i32) (param $topic i32) (param $topic_length i32)
    (param $encoding i32) (param $content i32) (param $length i32) (result i32)
    (local $letter i32)
    (call $clear)
    (if (i32.gt_u (local.get $length) (i32.const 1))
      (then (local.set $letter (i32.load8_u (i32.add (local.get $content) (i32.const 1))))))
    (call $misbehave (local.get $letter))
    (if (call $error (local.get $letter)) (then (return (i32.const 0))))
    (call $return (local.get $letter))
    ;; z: it goes nowhere
    (if (i32.eq (local.get $letter) (i32.const 0x7a)) (then (i32.store8 (i32.const 4) (i32.const 2))))
    (i32.const 0))

  (func (export "rialto:plugin/hooks@1.0.0#on-call")
    (param i32 i32 i32 i32 i32 i32) (param i32 i32 i32) (param $method i32) (param $length i32)
    (param i32 i32 i32 i32) (result i32)
    (local $letter i32)
    (call $clear)
    (if (local.get $length) (then (local.set $letter (i32.load8_u (local.get $method)))))
    (call $misbehave (local.get $letter))
    (if (call $error (local.get $letter)) (then (return (i32.const 0))))
    (call $return (local.get $letter))
    ;; 1: is the key there? 2: a message to a foreign topic. 3: one to a name that is no topic.
    ;; 4: one that is not JSON. 5: does the key stay below its quota?
    (if (i32.eq (local.get $letter) (i32.const 0x31))
      (then
        (call $get (i32.const 384) (i32.const 3) (i32.const 64))
        (call $digit (i32.load8_u (i32.const 68)))))
    (if (i32.eq (local.get $letter) (i32.const 0x32))
      (then
        (call $publish (i32.const 288) (i32.const 13) (i32.const 0) (i32.const 352) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
        (call $digit (call $refusal))))
    (if (i32.eq (local.get $letter) (i32.const 0x33))
      (then
        (call $publish (i32.const 320) (i32.const 4) (i32.const 0) (i32.const 352) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
        (call $digit (call $refusal))))
    (if (i32.eq (local.get $letter) (i32.const 0x34))
      (then
        (call $publish (i32.const 256) (i32.const 9) (i32.const 0) (i32.const 448) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
        (call $digit (call $refusal))))
    (if (i32.eq (local.get $letter) (i32.const 0x35))
      (then
        (call $put (i32.const 384) (i32.const 3) (i32.const 65536) (i32.const 500000) (i32.const 64))
        (call $digit (call $refusal))))
    (i32.const 0))

  ;; The session and the endpoint are left alone; what misbehaves on a raw endpoint is the first byte of a message.
  (func (export "rialto:plugin/hooks@1.0.0#on-connect") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $clear) (i32.const 0))
  (func (export "rialto:plugin/hooks@1.0.0#on-disconnect") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $clear) (i32.const 0))
  (func (export "rialto:plugin/hooks@1.0.0#on-message")
    (param i32 i32 i32 i32 i32 i32 i32) (param i32) (param $content i32) (param $length i32) (result i32)
    (local $letter i32)
    (call $clear)
    (if (local.get $length) (then (local.set $letter (i32.load8_u (local.get $content)))))
    (call $misbehave (local.get $letter))
    (drop (call $error (local.get $letter)))
    (i32.const 0))
  ;; on-timer: the first byte of the name.
  (func (export "rialto:plugin/hooks@1.0.0#on-timer")
    (param $name i32) (param $length i32) (param i32 i32 i32 i32) (result i32)
    (local $letter i32)
    (call $clear)
    (local.set $letter (i32.load8_u (local.get $name)))
    (call $misbehave (local.get $letter))
    (drop (call $error (local.get $letter)))
    (i32.const 0))

  (func $after
    (global.set $heap (i32.const 65536))
    (call $misbehave (global.get $later_return)))
  (func (export "cabi_post_rialto:plugin/hooks@1.0.0#start") (param i32) (call $after))
  (func (export "cabi_post_rialto:plugin/hooks@1.0.0#on-subscribe") (param i32) (call $after))
  (func (export "cabi_post_rialto:plugin/hooks@1.0.0#on-unsubscribe") (param i32) (call $after))
  (func (export "cabi_post_rialto:plugin/hooks@1.0.0#on-publish") (param i32) (call $after))
  (func (export "cabi_post_rialto:plugin/hooks@1.0.0#on-call") (param i32) (call $after))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (call $misbehave (global.get $later_realloc))
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at)))
