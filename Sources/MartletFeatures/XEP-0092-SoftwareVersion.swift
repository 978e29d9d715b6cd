package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let softwareVersion: Namespace = "jabber:iq:version"
}

/// Name and version of the server; the operating system only if the operator wants so (§6).
package struct SoftwareVersion: IQResponder {
    package static let specification = Specification.xep(92, "Software Version", version: "1.1")
    package let disco = DiscoFeatures(host: [.softwareVersion])
    private let name: String
    private let version: String
    private let operatingSystem: String?

    package init(_ configuration: FeatureConfiguration) {
        name = configuration.softwareName
        version = configuration.softwareVersion
        operatingSystem = configuration.operatingSystem
    }

    package var routes: [IQRoute] {
        [.immediate(.get, "query", .softwareVersion, at: .host) { [self] _, _ throws(StanzaError) in reply }]
    }

    private var reply: IQReply {
        IQReply { writer in
            writer.element("query", .softwareVersion) { writer in
                writer.element("name", .softwareVersion, text: name)
                writer.element("version", .softwareVersion, text: version)
                if let operatingSystem { writer.element("os", .softwareVersion, text: operatingSystem) }
            }
        }
    }
}
