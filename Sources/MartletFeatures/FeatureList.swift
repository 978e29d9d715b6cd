package import MartletCore
import MartletXML

/// The list of supported specifications, from the features themselves: for `martlet features`, `docs/features.md` and the DOAP
/// file. Pure: the same code gives the same text.
package struct FeatureList: Sendable {
    package struct Entry: Hashable, Sendable {
        package var specification: Specification
        /// What service discovery announces for it.
        package var namespaces: [String]
    }

    /// RFCs, then XEPs, by number.
    package let entries: [Entry]

    package init(features: [any Feature], beside specifications: [Specification] = StandardFeatures.beside) {
        let announced = features.map { feature in
            Entry(specification: feature.specification, namespaces: Self.names(feature.disco))
        }
        let others = specifications.map { Entry(specification: $0, namespaces: []) }
        entries = (announced + others).sorted { Self.order($0.specification) < Self.order($1.specification) }
    }

    private static func names(_ disco: DiscoFeatures) -> [String] {
        Set(disco.host + disco.account).map(\.name).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private static func order(_ specification: Specification) -> (Int, Int, String) {
        (specification.series == .rfc ? 0 : 1, specification.number, specification.title)
    }
}

// MARK: For people

extension FeatureList {
    /// One line per specification, for a terminal.
    package var text: String {
        entries.map { entry in
            let specification = entry.specification
            let note = specification.note.map { " (\($0))" } ?? ""
            return "\(specification.name)  \(specification.edition)  \(specification.title)\(note)\n"
        }.joined()
    }

    /// `docs/features.md`.
    package var markdown: String {
        """
        # What Martlet supports

        Generated from the code, as `martlet features` prints it; a test keeps it current.

        ## RFCs

        \(table(.rfc, edition: "Sections"))

        ## XMPP extensions

        \(table(.xep, edition: "Version"))

        """
    }

    private func table(_ series: Specification.Series, edition: String) -> String {
        let rows = entries.filter { $0.specification.series == series }.map { entry in
            let specification = entry.specification
            let names = entry.namespaces.map { "`\($0)`" }.joined(separator: ", ")
            return "| [\(specification.name)](\(specification.url)) | \(specification.title) | \(specification.version) | \(names) | \(specification.note ?? "") |"
        }
        let head = ["| Specification | Title | \(edition) | Announced | Remarks |", "|---|---|---|---|---|"]
        return (head + rows).joined(separator: "\n")
    }
}

// MARK: For machines

extension FeatureList {
    /// A DOAP file with XEP-0453's vocabulary, from which xmpp.org and others make their lists of software.
    package var doap: String {
        """
        <?xml version='1.0' encoding='UTF-8'?>
        <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://usefulinc.com/ns/doap#' \
        xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
          <Project>
            <name>Martlet</name>
            <shortdesc xml:lang='en'>An XMPP server for organisations that live by a directory</shortdesc>
            <programming-language>Swift</programming-language>
            <os>Linux</os>
        \(implementations.joined(separator: "\n"))
          </Project>
        </rdf:RDF>

        """
    }

    /// Without duplicates: an RFC may be the work of several features.
    private var implementations: [String] {
        var seen: Set<String> = []
        return entries.map(Self.doap).filter { seen.insert($0).inserted }
    }

    private static func doap(_ entry: Entry) -> String {
        let specification = entry.specification
        guard specification.series == .xep else { return "    <implements rdf:resource='\(specification.url)'/>" }
        let note = specification.note.map { "\n        <xmpp:note xml:lang='en'>\(escaped($0))</xmpp:note>" } ?? ""
        return """
                <implements>
                  <xmpp:SupportedXep>
                    <xmpp:xep rdf:resource='\(specification.url)'/>
                    <xmpp:status>\(specification.note == nil ? "complete" : "partial")</xmpp:status>
                    <xmpp:version>\(specification.version)</xmpp:version>\(note)
                  </xmpp:SupportedXep>
                </implements>
            """
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "<": result += "&lt;"
            case "&": result += "&amp;"
            default: result.append(character)
            }
        }
    }
}

extension Specification {
    /// `RFC 6121`, `XEP-0280`.
    package var name: String {
        switch series {
        case .rfc: return "RFC \(number)"
        case .xep:
            let digits = String(number)
            return "XEP-" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
        }
    }

    package var url: String {
        switch series {
        case .rfc: "https://www.rfc-editor.org/info/rfc\(number)"
        case .xep: "https://xmpp.org/extensions/\(name.lowercased()).html"
        }
    }

    fileprivate var edition: String {
        switch series {
        case .rfc: "§ \(version)"
        case .xep: "v\(version)"
        }
    }
}
