package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let softwareVersion: Namespace = "jabber:iq:version"
}

/// Name and version of the server; the operating system only if the operator wants so (§6). The same is among what the server says of itself
/// (XEP-0232), so that who has asked for that need not ask for this.
package struct SoftwareVersion: IQResponder {
    package static let specification = Specification.xep(92, "Software Version", version: "1.1")
    package let disco: DiscoFeatures
    private let name: String
    private let version: String
    private let operatingSystem: String?

    package init(_ configuration: FeatureConfiguration) {
        name = configuration.softwareName
        version = configuration.softwareVersion
        operatingSystem = configuration.operatingSystem
        let fields = [("os", operatingSystem), ("software", name), ("software_version", version)]
        let form = DiscoForm(type: "urn:xmpp:dataforms:softwareinfo", fields: fields.compactMap { name, value in value.map { .init(name, [$0]) } })
        disco = DiscoFeatures(host: [.softwareVersion], hostForms: [form])
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
