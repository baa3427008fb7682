;; A plugin that agrees to everything. Tests add to it what they need.
(module
  (memory (export "memory") 2)
  (func (export "rialto:plugin/hooks@1.0.0#start") (param i32 i32) (result i32) (i32.const 0))
  (func (export "rialto:plugin/hooks@1.0.0#on-subscribe") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "rialto:plugin/hooks@1.0.0#on-unsubscribe") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "rialto:plugin/hooks@1.0.0#on-publish")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "rialto:plugin/hooks@1.0.0#on-call")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
