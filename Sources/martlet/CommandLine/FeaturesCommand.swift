import ArgumentParser
import MartletCore
import MartletFeatures

struct FeaturesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "features", abstract: "List the specifications that this server implements.")

    enum Format: String, ExpressibleByArgument, CaseIterable { case text, markdown, doap }
    @Option(help: "One of text, markdown, doap.") var format = Format.text

    func run() async throws {
        for specification in Self.specifications { Terminal.say("\(specification.series.rawValue) \(specification.number) \(specification.title)") }
    }

    static var specifications: [Specification] {
        let time = SystemClock()
        let features = StandardFeatures.all(FeatureConfiguration(softwareVersion: MartletVersion.current, time: time, uptime: Uptime(time)))
        return features.map(\.specification) + StandardFeatures.beside
    }
}
