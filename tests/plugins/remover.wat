;; A plugin for version 1.1 of the protocol, which removes a message when it is called: the first one of `hostile.a`, or with
;; a method that begins with `f` that of a topic that is not its own, where it traps unless that is forbidden; with `t` it traps.
(module
  (import "rialto:plugin/messages@1.1.0" "remove" (func $remove (param i32 i32 i64 i32)))

  (memory (export "memory") 16)

  ;; Results are written at 0, those of host calls at 64; at 128 is the result "ok" of the other hooks.
  (data (i32.const 256) "hostile.a")
  (data (i32.const 272) "foreign")

  (global $heap (mut i32) (i32.const 65536))

  ;; The method is at 60 and 64 in the arguments.
  (func (export "rialto:plugin/hooks@1.1.0#on-call") (param $at i32) (result i32)
    (local $letter i32)
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 128))
    (local.set $letter (i32.load8_u (i32.load offset=60 (local.get $at))))
    (if (i32.eq (local.get $letter) (i32.const 0x74)) (then unreachable))
    (if (i32.eq (local.get $letter) (i32.const 0x66))
      (then
        (call $remove (i32.const 272) (i32.const 7) (i64.const 1) (i32.const 64))
        ;; Not refused, or not as forbidden.
        (if (i32.eqz (i32.load8_u (i32.const 64))) (then unreachable))
        (if (i32.load8_u (i32.const 68)) (then unreachable)))
      (else
        (call $remove (i32.const 256) (i32.const 9) (i64.const 1) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then unreachable))))
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
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-authenticated")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 128))
  (func (export "rialto:plugin/hooks@1.1.0#on-timer") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 128))

  (func $after (param i32) (global.set $heap (i32.const 65536)))
  (func (export "cabi_post_rialto:plugin/hooks@1.1.0#on-call") (param i32) (call $after (local.get 0)))
  (func (export "cabi_post_rialto:plugin/hooks@1.1.0#on-publish") (param i32) (call $after (local.get 0)))

  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at)))
