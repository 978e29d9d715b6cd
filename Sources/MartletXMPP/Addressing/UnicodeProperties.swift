/// What addresses have to know about one code point, in one word.
struct UnicodeProperties {
    /// A derived property value: of a string class of PRECIS (RFC 8264 §8) or of IDNA (RFC 5892 §3).
    enum Derived: UInt32 {
        case valid, contextJoin, contextOther
        /// Allowed in the FreeformClass alone; IDNA has no such value.
        case freeformValid
        /// Also whatever is not assigned.
        case disallowed
    }

    /// Bidi_Class, as far as RFC 5893 tells them apart.
    enum BidiClass: UInt32 {
        case leftToRight, rightToLeft, arabicLetter, arabicNumber
        case europeanNumber, europeanSeparator, commonSeparator, europeanTerminator
        case otherNeutral, boundaryNeutral, nonspacingMark
        /// Separators and embeddings: in no label.
        case other
    }

    /// Joining_Type, for the rule of ZERO WIDTH NON-JOINER.
    enum JoiningType: UInt32 {
        case nonJoining, left, right, dual, transparent, causing
    }

    /// Script, as far as the contextual rules ask for it.
    enum Script: UInt32 {
        case other, greek, hebrew, hiragana, katakana, han
    }

    /// Canonical_Combining_Class in bits 0 to 7; the rest from there as the accessors say.
    private let word: UInt32

    init(_ scalar: Unicode.Scalar) { word = Self.table.word(of: scalar.value) }

    var combiningClass: UInt8 { UInt8(truncatingIfNeeded: word) }
    var precis: Derived { Derived(rawValue: word >> 8 & 7) ?? .disallowed }
    var idna: Derived { Derived(rawValue: word >> 11 & 7) ?? .disallowed }
    var bidiClass: BidiClass { BidiClass(rawValue: word >> 14 & 15) ?? .other }
    var joiningType: JoiningType { JoiningType(rawValue: word >> 18 & 7) ?? .nonJoining }
    var script: Script { Script(rawValue: word >> 21 & 7) ?? .other }
    /// General_Category is Mn, Mc or Me.
    var isMark: Bool { word >> 24 & 1 == 1 }
    /// General_Category is Zs.
    var isSpace: Bool { word >> 25 & 1 == 1 }
    /// Canonical_Combining_Class is Virama.
    var isVirama: Bool { combiningClass == 9 }

    private static let table = UnicodeRuns(UnicodeTables.properties)
}

/// Runs of code points with the same properties, found by binary search.
private struct UnicodeRuns {
    private var starts: [UInt32] = []
    private var words: [UInt32] = []

    init(_ blob: StaticString) {
        var numbers = UnicodeNumbers(blob)
        var palette: [UInt32] = []
        for _ in 0..<(numbers.next() ?? 0) { palette.append(numbers.expect()) }
        var start: UInt32 = 0
        while let distance = numbers.next() {
            start += distance
            starts.append(start)
            words.append(palette[Int(numbers.expect())])
        }
    }

    func word(of value: UInt32) -> UInt32 {
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= value { low = middle } else { high = middle }
        }
        return words[low]
    }
}

/// Mappings from one code point to a few.
struct UnicodeMappings {
    /// What a mapping is for. Lower case mappings have no kind: all are `composing`.
    enum Kind: UInt32 {
        /// Canonical, and put together again in Normalisation Form C.
        case composing
        /// Canonical, never put together again.
        case excluded
        case compatibility
        /// Compatibility, `<wide>` or `<narrow>`.
        case width
    }

    struct Mapping {
        var kind: Kind
        var scalars: ArraySlice<Unicode.Scalar>
    }

    /// Decomposition mappings, not applied to their own results.
    static let decompositions = UnicodeMappings(UnicodeTables.decompositions, haveKinds: true)
    /// Lower case. The final sigma is not told apart: PRECIS maps code points one by one (RFC 8265 §3.5).
    static let lowercase = UnicodeMappings(UnicodeTables.lowercase, haveKinds: false)

    private(set) var keys: [Unicode.Scalar] = []
    private var kinds: [Kind] = []
    private var ends: [Int] = []
    private var scalars: [Unicode.Scalar] = []

    private init(_ blob: StaticString, haveKinds: Bool) {
        var numbers = UnicodeNumbers(blob)
        var key: UInt32 = 0
        while let distance = numbers.next() {
            key += distance
            keys.append(Self.scalar(key))
            kinds.append(haveKinds ? Kind(rawValue: numbers.expect()) ?? .compatibility : .composing)
            for _ in 0..<numbers.expect() { scalars.append(Self.scalar(numbers.expect())) }
            ends.append(scalars.count)
        }
    }

    subscript(scalar: Unicode.Scalar) -> Mapping? {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < scalar { low = middle + 1 } else { high = middle }
        }
        guard low < keys.count, keys[low] == scalar else { return nil }
        return Mapping(kind: kinds[low], scalars: scalars[(low == 0 ? 0 : ends[low - 1])..<ends[low]])
    }

    private static func scalar(_ value: UInt32) -> Unicode.Scalar {
        guard let scalar = Unicode.Scalar(value) else { preconditionFailure("the tables hold no surrogates") }
        return scalar
    }
}

/// Reads the numbers of one table: base 32, lowest digit first, bit 5 set where another digit follows.
private struct UnicodeNumbers {
    private var rest: UnsafeBufferPointer<UInt8>.SubSequence

    init(_ blob: StaticString) {
        rest = UnsafeBufferPointer(start: blob.utf8Start, count: blob.utf8CodeUnitCount)[...]
    }

    /// `nil` at the end.
    mutating func next() -> UInt32? {
        var number: UInt32 = 0
        var shift: UInt32 = 0
        while let byte = rest.popFirst() {
            guard byte >= 0x30 else { continue }  // the end of a line
            number |= (UInt32(byte - 0x30) & 31) << shift
            shift += 5
            if byte - 0x30 < 32 { return number }
        }
        return nil
    }

    mutating func expect() -> UInt32 {
        guard let number = next() else { preconditionFailure("a table of Unicode ends in the middle of an entry") }
        return number
    }
}
