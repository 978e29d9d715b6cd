/// What a reload does with a changed value.
package enum ConfigurationChange: Sendable, Hashable {
    /// Applies it.
    case reload
    /// Leaves it until the server starts again.
    case restart
}

/// One key of the configuration as its documentation, its environment variable and its example see it.
package struct ConfigurationKey: Sendable {
    package enum Form: Sendable {
        case value(type: String, change: ConfigurationChange)
        case list(of: String, change: ConfigurationChange)
        case section([ConfigurationKey])
        case entries([ConfigurationKey], change: ConfigurationChange)
    }

    package let name: String
    /// What it is, in sentences.
    package let summary: String
    package let form: Form
    package let isRequired: Bool
    /// The default, as it is shown; for the keys of an entry, that of a new entry.
    package let standard: ShownValue
    /// What stands in the example where there is no default.
    package let example: String?

    /// The part of a variable's name that stands for this key.
    package var environmentName: String { name.uppercased().replacing("-", with: "_") }
}

/// A part of a configuration as text.
package indirect enum ShownValue: Sendable, Hashable {
    case unset
    case scalar(String)
    case list([String])
    case section([ShownField])
    case entries([ShownEntry])
}

/// A key with its value as text.
package struct ShownField: Sendable, Hashable {
    package let name: String
    package let value: ShownValue
}

/// One of several entries, with the name that tells it from the others.
package struct ShownEntry: Sendable, Hashable {
    package let identity: String
    package let fields: [ShownField]
}
