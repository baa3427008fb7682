;; A plugin for version 1.1 of the protocol, which answers a call with what it gets of its caller. The first byte of the
;; method chooses: a digit is the number of a role, `i` is the caller's `info`, `m` the first role of the first session on
;; the topic `hostile.a`, `t` a trap. What there is not is no data. A message on a raw endpoint is the secret of the user
;; `ann`, and what comes of it is sent back: the user, or the reason.
(module
  (import "rialto:plugin/sessions@1.1.0" "members" (func $members (param i32 i32 i32 i32 i32 i32 i32)))
  (import "rialto:plugin/sessions@1.1.0" "authenticate" (func $authenticate (param i32 i32 i32 i32 i32 i32 i32)))
  (import "rialto:plugin/messages@1.1.0" "send-raw" (func $send_raw (param i32 i32 i32 i32 i32 i32)))

  (memory (export "memory") 16)

  ;; Results are written at 0, those of host calls at 64; at 128 is the result "ok" of the other hooks. At 1024 is a role in
  ;; quotes.
  (data (i32.const 256) "hostile.a")
  (data (i32.const 272) "ann")

  (global $heap (mut i32) (i32.const 65536))

  ;; A payload at 8, with the discriminant at 4 that says that there is one.
  (func $payload (param $encoding i32) (param $content i32) (param $length i32)
    (i32.store8 (i32.const 4) (i32.const 1))
    (i32.store8 (i32.const 8) (local.get $encoding))
    (i32.store (i32.const 12) (local.get $content))
    (i32.store (i32.const 16) (local.get $length)))

  ;; The role of this number in a list, as JSON: it needs no escapes.
  (func $role (param $list i32) (param $count i32) (param $number i32)
    (local $length i32)
    (if (i32.lt_u (local.get $number) (local.get $count))
      (then
        (local.set $list (i32.add (local.get $list) (i32.mul (local.get $number) (i32.const 8))))
        (local.set $length (i32.load offset=4 (local.get $list)))
        (i32.store8 (i32.const 1024) (i32.const 0x22))
        (memory.copy (i32.const 1025) (i32.load (local.get $list)) (local.get $length))
        (i32.store8 (i32.add (i32.const 1025) (local.get $length)) (i32.const 0x22))
        (call $payload (i32.const 0) (i32.const 1024) (i32.add (local.get $length) (i32.const 2))))))

  ;; The arguments are too many for parameters, so they are in memory: the session at 0 with its roles at 24 and its `info` at
  ;; 32, the topic at 48, the method at 60.
  (func (export "rialto:plugin/hooks@1.1.0#on-call") (param $at i32) (result i32)
    (local $letter i32) (local $member i32)
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 128))
    (if (i32.load offset=64 (local.get $at))
      (then (local.set $letter (i32.load8_u (i32.load offset=60 (local.get $at))))))
    (if (i32.eq (local.get $letter) (i32.const 0x74)) (then unreachable))
    (if (i32.eq (local.get $letter) (i32.const 0x6d))
      (then
        (call $members
          (i32.const 256) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then unreachable))
        (local.set $member (i32.load (i32.const 68)))
        (if (i32.load (i32.const 72))
          (then
            (call $role
              (i32.load offset=20 (local.get $member)) (i32.load offset=24 (local.get $member)) (i32.const 0)))))
      (else
        (if (i32.load8_u (local.get $at))
          (then
            (if (i32.eq (local.get $letter) (i32.const 0x69))
              (then
                (if (i32.load8_u offset=32 (local.get $at))
                  (then
                    (call $payload
                      (i32.load8_u offset=36 (local.get $at))
                      (i32.load offset=40 (local.get $at))
                      (i32.load offset=44 (local.get $at))))))
              (else
                (call $role
                  (i32.load offset=24 (local.get $at))
                  (i32.load offset=28 (local.get $at))
                  (i32.sub (local.get $letter) (i32.const 0x30)))))))))
    (i32.const 0))

  (func (export "rialto:plugin/hooks@1.1.0#start") (param i32 i32 i32 i32 i32) (result i32) (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-subscribe")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-unsubscribe")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-publish") (param i32) (result i32) (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-connect")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-disconnect")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-message")
    (param $id i32) (param $id_length i32) (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    (param $secret i32) (param $secret_length i32) (result i32)
    (call $authenticate
      (local.get $id) (local.get $id_length) (i32.const 272) (i32.const 3)
      (local.get $secret) (local.get $secret_length) (i32.const 64))
    (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-authenticated")
    (param $id i32) (param $id_length i32) (param $has_user i32) (param $user i32) (param $user_length i32)
    (param i32 i32 i32 i32 i32 i32)
    (param $is_refused i32) (param $reason i32) (param $reason_length i32) (result i32)
    (if (i32.eqz (local.get $is_refused))
      (then
        (local.set $reason (local.get $user))
        (local.set $reason_length (local.get $user_length))))
    (call $send_raw
      (local.get $id) (local.get $id_length) (i32.const 0) (local.get $reason) (local.get $reason_length) (i32.const 64))
    (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-timer") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 128))

  (func $after (param i32) (global.set $heap (i32.const 65536)))
  (func (export "cabi_post_rialto:plugin/hooks@1.1.0#on-call") (param i32) (call $after (local.get 0)))
  (func (export "cabi_post_rialto:plugin/hooks@1.1.0#on-publish") (param i32) (call $after (local.get 0)))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at)))
