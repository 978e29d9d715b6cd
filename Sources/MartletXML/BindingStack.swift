/// The namespace declarations in scope at one place in an element, the innermost last.
///
/// What `Array` would check at every step, that nobody else has it, took a hundred instructions for each declaration. Its memory is kept
/// from one element to the next.
struct BindingStack: ~Copyable {
    struct Binding {
        /// Empty for the default namespace.
        var prefix: Range<Int>
        var namespace: UInt16
        /// Where the name is found: the first declaration of it in scope, so that equal unknown names have equal declarations.
        var declaration: UInt32
        /// Of the name, if it is unknown.
        var hash: Int
        /// Of the element that declares it.
        var depth: Int
    }

    private var bindings: UnsafeMutablePointer<Binding>
    private var capacity: Int
    private(set) var count = 0
    /// Depth of the element that made the innermost declaration; 0 if there is none.
    private(set) var innermostDepth = 0

    private static let initialCapacity = 8

    init() {
        capacity = Self.initialCapacity
        bindings = .allocate(capacity: capacity)
    }

    deinit {
        bindings.deallocate()
    }

    subscript(index: Int) -> Binding {
        @inline(__always) get {
            precondition(index >= 0 && index < count, "no such binding")
            return bindings[index]
        }
    }

    @inline(__always)
    mutating func append(_ binding: Binding) {
        if count == capacity { grow() }
        (bindings + count).initialize(to: binding)
        count &+= 1
        innermostDepth = binding.depth
    }

    @inline(__always)
    mutating func removeLast() {
        precondition(count > 0, "nothing is bound")
        count &-= 1
        innermostDepth = count == 0 ? 0 : bindings[count &- 1].depth
    }

    @inline(__always)
    mutating func removeAll() {
        count = 0
        innermostDepth = 0
    }

    @inline(never)
    private mutating func grow() {
        let larger = UnsafeMutablePointer<Binding>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: bindings, count: count)
        bindings.deallocate()
        bindings = larger
        capacity *= 2
    }
}
