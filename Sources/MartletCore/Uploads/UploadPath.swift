/// The path of an uploaded file: `/upload/NAME/LABEL`. The name is the server's and says which file; the label is what its owner calls it and says nothing.
package enum UploadPath {
    package static let prefix = "/upload/"

    package static func path(_ name: String, label fileName: String) -> String { "\(prefix)\(name)/\(PercentEncoding.encoded(fileName))" }

    /// The name in a path; `nil` if it is of another form. Nothing is decoded: the label may be written in any way.
    package static func name(in path: String) -> String? {
        guard path.hasPrefix(prefix) else { return nil }
        let parts = path.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, UploadName.isValid(parts[0]), !parts[1].isEmpty else { return nil }
        return String(parts[0])
    }

    /// What a client calls a file, as the last part of a path: without what would make it more than that.
    package static func label(_ fileName: String) -> String {
        let label = String(fileName.map { $0 == "/" || $0 == "\\" ? "_" : $0 })
        return label.allSatisfy { $0 == "." } ? "file" : label
    }
}
